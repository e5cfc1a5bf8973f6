"""`stageline install`: make this machine a device, a hub or a gateway under systemd."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.syntax import Syntax

from broker.address import BrokerAddress
from schemas.base import check_name
from services.settings import default_device_name
from stageline.commands import options
from stageline.commands.conduct import DONE, MendError, Report, conduct
from stageline.credentials import CredentialsError, Invitation, init_hub
from stageline.hub_files import HubFiles, conf_text
from stageline.service_files import SERVICES, Part, ServiceFile, service_files

_MOSQUITTO = Path("/etc/mosquitto")
_HUB = HubFiles(_MOSQUITTO / "stageline")


def install(
    part: Annotated[
        Part,
        typer.Argument(
            help="what it is to be: `device` (computes), `hub` (broker, planner) or `gateway` (delivers journals)"
        ),
    ],
    broker: Annotated[
        str,
        typer.Option(help="for a device or a gateway: the address that `stageline invite` printed on the hub"),
    ] = "",
    name: Annotated[str, typer.Option(help="for a device: its name (default: the host name)")] = "",
    port: Annotated[int, typer.Option(min=1, max=65535, help="for a hub: the port mosquitto listens on")] = 1883,
    root: Annotated[Path, typer.Option(help="write below this folder instead of / (for images and tests)")] = Path("/"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would be written, write nothing")] = False,
    json: options.Json = None,
) -> None:
    """Write systemd units (and on a hub mosquitto's configuration), hardened, and say how to start them.

    A device:  sudo stageline install device --broker mqtt://pi4:PASSWORD@hub.local:1883 --name pi4

    A hub:     sudo stageline install hub

    A gateway: sudo stageline install gateway --broker mqtt://door:PASSWORD@hub.local:1883

    Exit codes: 0 written (or shown); 2 something to mend first, said in one line.
    """

    def work(report: Report) -> int:
        match part:
            case "device":
                wanted = _device_files(broker, name)
            case "gateway":
                wanted = _gateway_files(broker)
            case "hub":
                wanted = _hub_files(dry_run=dry_run, port=port, root=root)
        try:
            for file in wanted:
                _put(file, root=root, dry_run=dry_run, console=report.out)
        except PermissionError as error:
            raise MendError(
                f"{error.filename}: not allowed. Run this with sudo, or look first with --dry-run"
            ) from error
        steps = _next_steps(part)
        report.out.print("\nThen:" if dry_run else "\nNow:")
        for what, line in steps:
            report.out.print(f"  {what}:\n    {line}", soft_wrap=True)
        report.write_json(
            {
                "part": part,
                "written": not dry_run,
                "files": [{"path": str(_below(root, file.path)), "secret": file.secret} for file in wanted],
                "next": [{"what": what, "run": line} for what, line in steps],
            }
        )
        return DONE

    conduct(json, work, known=(CredentialsError,))


def _next_steps(part: Part) -> list[tuple[str, str]]:
    """What is left to a person: in words, and the line to run."""
    if part == "gateway":
        return _gateway_steps()
    units = " ".join(SERVICES[part])
    steps = [
        (
            "start it, now and at every boot (returns when it is up)",
            f"sudo systemctl daemon-reload && sudo systemctl enable --now {units}",
        ),
        ("watch it", "journalctl -f " + " ".join(f"-u {unit}" for unit in SERVICES[part])),
    ]
    if part == "device":
        return steps
    return [
        ("let mosquitto read its new files", "sudo systemctl daemon-reload && sudo systemctl restart mosquitto"),
        *steps,
        ("let a device in (prints the line to run there)", f"sudo stageline invite --hub-dir {_HUB.directory} NAME"),
        (
            "put a model in the library",
            "sudo env STAGELINE_STATE_DIR=/var/lib/stageline stageline import efficientnet-lite0",
        ),
    ]


def _gateway_steps() -> list[tuple[str, str]]:
    """A gateway runs as the user whose requests it delivers: only a person knows who that is."""
    unit = "stageline-gateway@USER"
    return [
        (
            "start it for a user of this machine, now and at every boot",
            f"sudo systemctl daemon-reload && sudo systemctl enable --now {unit}",
        ),
        ("hand over as that user", "stageline submit --journal /var/lib/stageline-gateway/USER DEPLOYMENT FILE"),
        ("watch it", f"journalctl -f -u {unit}"),
    ]


def _device_files(broker: str, name: str) -> tuple[ServiceFile, ...]:
    if not broker:
        raise MendError(
            "a device needs the hub's address: on the hub, `stageline invite NAME` prints it; give it with --broker"
        )
    BrokerAddress.parse(broker)
    device = check_name("device", name or default_device_name())
    environment = {"STAGELINE_BROKER": broker, "STAGELINE_DEVICE": device}
    return service_files("device", binaries=_binaries(), environment=environment)


def _gateway_files(broker: str) -> tuple[ServiceFile, ...]:
    if not broker:
        raise MendError(
            "a gateway needs the hub's address: on the hub, `stageline invite --operator NAME` prints it; give it with "
            "--broker"
        )
    BrokerAddress.parse(broker)
    return service_files("gateway", binaries=_binaries(), environment={"STAGELINE_BROKER": broker})


def _hub_files(*, dry_run: bool, port: int, root: Path) -> tuple[ServiceFile, ...]:
    """Units, the planner's address, and what mosquitto reads; users are made unless they exist."""
    written = HubFiles(_below(root, _HUB.directory))
    if dry_run:
        planner = str(Invitation("hub", "PASSWORD-MADE-WHEN-INSTALLED", "127.0.0.1", port))
    elif written.exist():
        planner = written.planner_address.read_text(encoding="utf-8").strip()
    else:
        planner = str(init_hub(written, port=port))
    conf = ServiceFile(_MOSQUITTO / "conf.d" / "stageline.conf", conf_text(_HUB, bind="0.0.0.0", port=port))  # noqa: S104
    return (*service_files("hub", binaries=_binaries(), environment={"STAGELINE_BROKER": planner}), conf)


def _binaries() -> Path:
    return Path(sys.argv[0]).resolve().parent if Path(sys.argv[0]).name == "stageline" else Path(sys.executable).parent


def _put(file: ServiceFile, *, root: Path, dry_run: bool, console: Console) -> None:
    target = _below(root, file.path)
    console.print(f"[bold]{target}[/bold]" + (" (root only)" if file.secret else ""), highlight=False)
    if dry_run:
        console.print(Syntax(file.text, "ini", background_color="default", word_wrap=True))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if file.secret else 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(file.text)
    target.chmod(0o600 if file.secret else 0o644)


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")
