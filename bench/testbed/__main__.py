"""`python -m bench.testbed FLEET`: a fleet that runs until Ctrl-C, to look at and to try things on."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.table import Table

from bench.context import DEFAULT_LIBRARY, FLEETS
from bench.testbed.bed import Testbed
from bench.testbed.namespace import enter_private_network
from bench.testbed.start import testbed
from broker.bus import Bus
from broker.embedded import MosquittoMissingError
from services.planner.fleet import read_fleet
from stageline.commands import options
from stageline.commands.conduct import SOME_FAILED, MendError, Report, conduct_service
from stageline.emulation.fleet_file import BadFleetError, FleetFile, load_fleet
from stageline.emulation.house import ServiceEndedError
from stageline.tables import new_table
from stageline.watch_line import watch_line

_LOOK_EVERY_S: Final = 0.5
_HELP: Final = (
    "Bring an emulated fleet up until Ctrl-C: a broker, a planner, and for each device a monitor and a worker.\n\n"
    "  sudo .venv/bin/python -m bench.testbed hml                 [dim]# a fleet of bench/fleets[/dim]\n"
    "  sudo .venv/bin/python -m bench.testbed my-fleet.toml       [dim]# a fleet file of your own[/dim]"
)
_EPILOG: Final = (
    "As root each device gets a CPU quota, a memory limit and a network of its own; without, what cannot be emulated "
    "is said. Nothing is left behind, also when this is killed. Exit codes: 0 interrupted; 1 a service ended by "
    "itself; 2 something for you to mend."
)

app: Final = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command(help=_HELP, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def bring_up(
    fleet: Annotated[str, typer.Argument(metavar="FLEET", help="A fleet file, or the name of one in bench/fleets.")],
    library: Annotated[Path, typer.Option("--library", metavar="DIR", help="Folder of the planner's models.")] = (
        DEFAULT_LIBRARY
    ),
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Keep logs and blobs here; else nowhere.")
    ] = None,
    loopback: Annotated[bool, typer.Option("--loopback", help="Emulate no links.")] = False,
    json: options.Json = None,
) -> None:
    """Start a fleet and show where it is."""
    if not loopback:
        enter_private_network()

    async def serve(report: Report) -> int:
        try:
            return await _serve(report, _find(fleet), library.resolve(), folder, shape=not loopback)
        except (BadFleetError, MosquittoMissingError) as error:
            raise MendError(str(error)) from error
        except ServiceEndedError as error:
            report.err.print(f"[red]{escape(str(error))}[/red]")
            return SOME_FAILED

    conduct_service(serve, json)


async def _serve(report: Report, fleet: FleetFile, library: Path, folder: Path | None, *, shape: bool) -> int:
    with testbed(fleet, library=library, folder=folder, shape=shape) as bed:
        report.out.print(devices_table(fleet))
        for clause in bed.unshaped:
            report.out.print(f"[yellow]Not as stated:[/yellow] {escape(clause)}.")
        with report.err.status("devices joining"):
            await _joined(bed)
        for line in _ways_in(bed, library):
            report.out.print(escape(line), soft_wrap=True)
        report.write_json(_document(bed))
        while True:
            bed.check()
            await asyncio.sleep(_LOOK_EVERY_S)


async def _joined(bed: Testbed) -> None:
    async with Bus(bed.url, name="testbed") as bus:
        while len((await read_fleet(bus)).usable) < len(bed.devices):
            bed.check()
            await asyncio.sleep(_LOOK_EVERY_S)


def devices_table(fleet: FleetFile) -> Table:
    """What is stated of each device, and what that comes to here."""
    table = new_table(
        f"{fleet.name}: {fleet.about}", "device", ">cores", ">cores here", ">memory MB", ">up Mbit/s", ">down Mbit/s",
        ">delay ms", ">idle/busy W",
    )  # fmt: skip
    for device in fleet.devices:
        link, power = device.link, device.power
        table.add_row(
            device.name,
            f"{device.cores:g}",
            f"{fleet.cores_here(device):.3f}",
            f"{device.memory_mb}" if device.memory_mb else "-",
            *((f"{link.up_mbps:g}", f"{link.down_mbps:g}", f"{link.delay_ms:g}") if link else ("-", "-", "-")),
            f"{power.idle_w:g}/{power.busy_w:g}" if power else "-",
        )
    return table


def _ways_in(bed: Testbed, library: Path) -> Sequence[str]:
    """How another terminal watches and uses the fleet: from its network, where it has one."""
    enter = f"nsenter --net=/proc/{os.getpid()}/ns/net " if bed.links else ""
    stageline = Path(sys.executable).with_name("stageline")
    settings = f"STAGELINE_BROKER={bed.url} STAGELINE_LIBRARY={shlex.quote(str(library))}"
    return (
        f"All {len(bed.devices)} devices are there, broker {bed.url}, logs in {bed.folder}. Ctrl-C ends everything.",
        f"watch: {enter}{watch_line(options=f'-h {bed.broker.host} -p {bed.broker.port}')}",
        f"use:   {enter}env {settings} {stageline} deploy mobilenet_v2",
    )


def _document(bed: Testbed) -> dict[str, object]:
    return {
        "broker": bed.url, "pid": os.getpid(), "planner_pid": bed.planner_pid, "folder": str(bed.folder),
        "devices": {device.name: {"pid": device.pid("worker"), "cores": device.cores} for device in bed.devices},
        "unshaped": list(bed.unshaped),
    }  # fmt: skip


def _find(name: str) -> FleetFile:
    path = Path(name)
    known = {file.stem: file for file in sorted(FLEETS.glob("*.toml"))}
    if not path.exists() and name in known:
        return load_fleet(known[name])
    try:
        return load_fleet(path)
    except BadFleetError as error:
        if path.exists():
            raise
        raise MendError(f"{error}, or one of {', '.join(known)}") from error


if __name__ == "__main__":
    app()
