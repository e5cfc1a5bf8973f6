"""The files that make a machine a device, a hub or a gateway under systemd, as values. Writing them is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

Part = Literal["device", "hub", "gateway"]
SERVICES: Final[Mapping[Part, tuple[str, ...]]] = {
    "device": ("stageline-monitor", "stageline-worker"),
    "hub": ("stageline-planner",),
    "gateway": ("stageline-gateway@",),
}
UNIT_DIRECTORY: Final = Path("/etc/systemd/system")
ETC: Final = Path("/etc/stageline")


@dataclass(frozen=True, slots=True)
class ServiceFile:
    """One file to write; `secret` ones are for root only."""

    path: Path
    text: str
    secret: bool = False


def service_files(part: Part, *, binaries: Path, environment: Mapping[str, str]) -> tuple[ServiceFile, ...]:
    """Units and the environment file of one part.

    Args:
        part: what the machine is to be.
        binaries: folder of the `stageline-...` entry points.
        environment: `STAGELINE_...` variables; may hold a password, so the file is for root only.
    """
    hardening, own_user = _template("hardening.conf").strip(), _template("own-user.conf").strip()
    units = tuple(
        ServiceFile(
            UNIT_DIRECTORY / f"{service}.service",
            _template(f"{service}.service")
            .replace("@HARDENING@", hardening)
            .replace("@OWN_USER@", own_user)
            .replace("@BIN@", str(binaries))
            .replace("@ETC@", str(ETC)),
        )
        for service in SERVICES[part]
    )
    if part == "device":
        units = (*units, ServiceFile(UNIT_DIRECTORY / "stageline.slice", _template("stageline.slice")))
    if part == "hub":
        drop_in = UNIT_DIRECTORY / "mosquitto.service.d" / "stageline.conf"
        units = (*units, ServiceFile(drop_in, _template("mosquitto-memory.conf")))
    lines = "".join(f"{name}={_quoted(value)}\n" for name, value in sorted(environment.items()))
    note = "# Read by systemd for the stageline services; flags have the same names (stageline-worker --help).\n"
    return (*units, ServiceFile(ETC / f"{part}.env", note + lines, secret=True))


def _template(name: str) -> str:
    return (files("deploy") / "systemd" / name).read_text(encoding="utf-8")


def _quoted(value: str) -> str:
    """As systemd reads an environment file: in double quotes, with `"`, `\\`, `$` and backticks escaped."""
    return '"' + "".join(f"\\{c}" if c in '"\\$`' else c for c in value) + '"'
