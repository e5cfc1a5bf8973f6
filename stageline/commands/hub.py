"""`stageline hub`: the broker and the planner, as two child processes of one command."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Annotated

import typer
from rich.markup import escape

from broker.embedded import MosquittoMissingError
from services.lifecycle import OperatorError
from stageline.commands import options
from stageline.commands.conduct import DONE, Report, conduct, conduct_service, settings_of
from stageline.credentials import CredentialsError, init_hub
from stageline.hub_broker import HubBroker, HubError, check_port, findable, hub_broker, until_listening
from stageline.hub_files import HubFiles
from stageline.hub_folder import check_reachable
from stageline.processes import Child, Kept, python_module, running, until_one_ends
from stageline.settings import CommandSettings


def hub(
    init: Annotated[
        bool, typer.Option("--init", help="Set up users, so that other machines may connect; then run it without.")
    ] = False,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Where the broker listens.")] = 1883,
    bind: Annotated[
        str | None, typer.Option("--bind", help="With --init: the address to listen on; every one unless given.")
    ] = None,
    library: options.Library = None,
    hub_dir: options.HubDir = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Run the broker (mosquitto) and the planner until interrupted; the machine with the models runs this.

    Without users it listens on this machine only. To let others in:

    stageline hub --init          (once: users, passwords, access rules)

    stageline invite pi4          (for each device: prints the line to run there)

    stageline hub

    For a hub that starts at boot, see `stageline install hub`. With --json FILE the addresses are written once it is
    up. Exit codes: 0 interrupted; 1 broker or planner ended by itself; 2 to mend: mosquitto is missing, the port is
    taken, users exist already.
    """
    known = (CredentialsError, HubError, MosquittoMissingError)
    if init:
        every = "0.0.0.0"  # noqa: S104  nobody gets in without a password
        conduct(
            json,
            lambda report: _init(report, settings_of(hub_dir=hub_dir, root=root), bind or every, port),
            known=known,
        )
    if bind is not None:
        raise typer.BadParameter(
            "goes with --init: without users the broker listens on this machine only", param_hint="--bind"
        )

    async def serve(report: Report) -> int:
        settings = settings_of(library=library, hub_dir=hub_dir, root=root)
        try:
            return await _serve(report, settings, hub_broker(settings.hub_files_dir, port=port, root=settings.root))
        except known as error:
            raise OperatorError(str(error)) from error

    conduct_service(serve, json)


async def _init(report: Report, settings: CommandSettings, bind: str, port: int) -> int:
    files = HubFiles(settings.hub_files_dir)
    check_reachable(files.directory.parent)
    init_hub(files, bind=bind, port=port, root=settings.root)
    report.out.print(f"Users and access rules are in {files.directory}. From now on nobody gets in without a password.")
    report.out.print("Let devices in with:  stageline invite NAME\nThen run it:          stageline hub")
    report.write_json({"hub_dir": str(files.directory), "bind": bind, "port": port})
    return DONE


async def _serve(report: Report, settings: CommandSettings, broker: HubBroker) -> int:
    check_port(broker.port)
    environment = {
        "STAGELINE_BROKER": broker.planner_url,
        "STAGELINE_ROOT": settings.root,
        "STAGELINE_LIBRARY": str(settings.library_dir),
    }
    async with AsyncExitStack() as stack:
        processes = await stack.enter_async_context(running(broker.child))
        await until_listening(broker.port, processes["mosquitto"])
        stack.enter_context(findable(HubFiles(settings.hub_files_dir), processes["mosquitto"].pid))
        # Ends before the broker does, so that it can say good-bye.
        planner = Kept(Child("planner", python_module("services.planner.main"), environment))
        processes["planner"] = await stack.enter_async_context(planner)
        where = "for those with a password" if broker.open_to_others else "for this machine only"
        report.out.print(f"[bold]The hub is up[/bold], {where}. Models: {escape(str(settings.library_dir))}")
        report.out.print(f"  a device joins    {escape(broker.join_line)}")
        report.out.print(f"  watch everything  {escape(broker.watch_line)}")
        if broker.forgetful:
            report.out.print(
                "  run by root, it forgets deployments when it ends; `stageline install hub` sets up one that does not"
            )
        if not broker.open_to_others:
            report.out.print("  let others in     stageline hub --init")
        report.write_json(
            {
                "port": broker.port,
                "loopback_only": not broker.open_to_others,
                "join": broker.join_line,
                "watch": broker.watch_line,
                "pids": {name: process.pid for name, process in processes.items()},
            }
        )
        return await _until_broker_ends(processes["mosquitto"], planner)


async def _until_broker_ends(broker: asyncio.subprocess.Process, planner: Kept) -> int:
    """Until mosquitto ends, or the planner has something to be mended; what else ends the planner is lived through."""
    keeping = asyncio.create_task(planner.until_mend())
    serving = asyncio.create_task(until_one_ends({"mosquitto": broker}))
    try:
        done, _ = await asyncio.wait((keeping, serving), return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        keeping.cancel()
        serving.cancel()
        await asyncio.gather(keeping, serving, return_exceptions=True)
