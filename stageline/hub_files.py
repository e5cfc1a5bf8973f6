"""Where a hub that asks for passwords keeps what its mosquitto reads, and what it is configured to do."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from broker.embedded import configure

BROKER_USER: Final = "mosquitto"
"""Whom mosquitto becomes when root starts it."""


@dataclass(frozen=True, slots=True)
class HubFiles:
    """The files of one hub that asks for passwords."""

    directory: Path

    @property
    def passwords(self) -> Path:
        """mosquitto's password file: names and salted hashes."""
        return self.directory / "passwords"

    @property
    def acl(self) -> Path:
        """Rights by user name."""
        return self.directory / "acl"

    @property
    def conf(self) -> Path:
        """What mosquitto reads."""
        return self.directory / "mosquitto.conf"

    @property
    def data(self) -> Path:
        """Where mosquitto keeps what is retained."""
        return self.directory / "data"

    @property
    def planner_address(self) -> Path:
        """The planner's own address, password included; readable by its owner only."""
        return self.directory / "planner.address"

    @property
    def broker_pid(self) -> Path:
        """The process id of its mosquitto while `stageline hub` runs."""
        return self.directory / "mosquitto.pid"

    def exist(self) -> bool:
        """Whether this hub was initialised."""
        return self.passwords.exists() and self.acl.exists()


def conf_text(hub: HubFiles, *, bind: str, port: int, persistence: Path | None = None) -> str:
    """A mosquitto configuration that asks for names and passwords, with this project's limits.

    Args:
        hub: where its password and access files lie.
        bind: address to listen on.
        port: TCP port.
        persistence: folder for what is retained; None where the system's own mosquitto.conf already names one.
    """
    access = (files("deploy") / "mosquitto" / "hub.conf").read_text(encoding="utf-8")
    for key, value in {"PORT": port, "BIND": bind, "PASSWORDS": hub.passwords, "ACL": hub.acl}.items():
        access = access.replace(f"@{key}@", str(value))
    elsewhere: dict[str, str | None] = dict.fromkeys(
        ("listener", "allow_anonymous", "persistence", "persistence_location", "autosave_interval")
    )
    if persistence is not None:
        elsewhere |= {"persistence": "true", "persistence_location": f"{persistence}/", "autosave_interval": "60"}
    limits = configure((files("broker") / "mosquitto.conf").read_text(encoding="utf-8"), elsewhere)
    if persistence is None:
        return access + limits
    # `stageline hub` runs it on somebody's terminal: who comes and goes is no news there.
    return access + configure(limits, {"connection_messages": "false"}).replace("log_type notice\n", "")
