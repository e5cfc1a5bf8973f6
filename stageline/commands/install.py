"""`stageline install`: make this machine a device or a hub under systemd."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.syntax import Syntax

from broker.address import BadAddressError, BrokerAddress
from schemas.base import InvalidNameError, check_name
from services.settings import default_device_name
from stageline.credentials import CredentialsError, HubFiles, Invitation, conf_text, init_hub
from stageline.service_files import SERVICES, Part, ServiceFile, service_files

_MOSQUITTO = Path("/etc/mosquitto")
_HUB = HubFiles(_MOSQUITTO / "stageline")


def install(
    part: Annotated[
        Part, typer.Argument(help="what this machine is to be: `device` (computes) or `hub` (broker, planner)")
    ],
    broker: Annotated[
        str, typer.Option(help="for a device: the address that `stageline invite` printed on the hub")
    ] = "",
    name: Annotated[str, typer.Option(help="for a device: its name (default: the host name)")] = "",
    port: Annotated[int, typer.Option(min=1, max=65535, help="for a hub: the port mosquitto listens on")] = 1883,
    root: Annotated[Path, typer.Option(help="write below this folder instead of / (for images and tests)")] = Path("/"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would be written, write nothing")] = False,
) -> None:
    """Write systemd units (and on a hub mosquitto's configuration), hardened, and say how to start them.

    A device:  sudo stageline install device --broker mqtt://pi4:PASSWORD@hub.local:1883 --name pi4

    A hub:     sudo stageline install hub

    Exit codes: 0 written (or shown); 2 something to mend first, said in one line.
    """
    console = Console()
    try:
        device = part == "device"
        wanted = _device_files(broker, name) if device else _hub_files(dry_run=dry_run, port=port, root=root)
        for file in wanted:
            _put(file, root=root, dry_run=dry_run, console=console)
    except (CredentialsError, InvalidNameError, BadAddressError) as error:
        _mend(str(error))
    except PermissionError as error:
        _mend(f"{error.filename}: not allowed. Run this with sudo, or look first with --dry-run")
    units = " ".join(SERVICES[part])
    console.print("\nStart now and at every boot:" if not dry_run else "\nThen, to start now and at every boot:")
    if part == "hub":
        console.print("  sudo systemctl restart mosquitto", highlight=False)
    console.print(f"  sudo systemctl daemon-reload && sudo systemctl enable --now {units}", highlight=False)
    console.print(f"Watch it:\n  journalctl -f -u {' -u '.join(SERVICES[part])}", highlight=False)
    if part == "hub":
        hub = f"--hub-dir {_HUB.directory}"
        console.print(
            f"Let a device in (prints the line to run there):\n  sudo stageline invite {hub} NAME\n"
            f"Put a model in its library:\n"
            f"  sudo env STAGELINE_STATE_DIR=/var/lib/stageline stageline import efficientnet-lite0",
            highlight=False,
        )


def _device_files(broker: str, name: str) -> tuple[ServiceFile, ...]:
    if not broker:
        _mend("a device needs the hub's address: on the hub, `stageline invite NAME` prints it; give it with --broker")
    BrokerAddress.parse(broker)
    device = check_name("device", name or default_device_name())
    environment = {"STAGELINE_BROKER": broker, "STAGELINE_DEVICE": device}
    return service_files("device", binaries=_binaries(), environment=environment)


def _hub_files(*, dry_run: bool, port: int, root: Path) -> tuple[ServiceFile, ...]:
    """Units, the planner's address, and what mosquitto reads; users are made unless they exist."""
    written = HubFiles(root / _HUB.directory.relative_to("/"))
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
    target = root / file.path.relative_to("/")
    console.print(f"[bold]{target}[/bold]" + (" (root only)" if file.secret else ""), highlight=False)
    if dry_run:
        console.print(Syntax(file.text, "ini", background_color="default", word_wrap=True))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if file.secret else 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(file.text)
    target.chmod(0o600 if file.secret else 0o644)


def _mend(line: str) -> None:
    typer.echo(f"install: {line}", err=True)
    raise typer.Exit(2)
