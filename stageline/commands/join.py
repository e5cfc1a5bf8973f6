"""`stageline join`: this machine's monitor and worker, as two child processes of one command."""

from __future__ import annotations

import asyncio
import socket
from typing import Annotated, Final

import typer

from broker.bus import Bus
from services.presence import Role, claim_name, new_boot_id
from services.settings import load
from services.worker.settings import WorkerSettings
from stageline.commands import options
from stageline.commands.conduct import Report, conduct_service, open_bus, settings_of
from stageline.processes import Child, python_module, running, until_one_ends

_OPTIONS: Final = {"device": "--name", "capacity_cores": "--cores", "memory_budget_mb": "--memory-mb"}
_ROLES: Final[tuple[Role, ...]] = ("monitor", "worker")


def join(
    broker: Annotated[
        str | None, typer.Argument(help="The hub's broker, as `stageline hub` or `stageline invite` printed it.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="This device's name; else the host name.")] = None,
    capacity_cores: Annotated[
        float | None,
        typer.Option(
            "--cores",
            help="Cores that plans count on here; to enforce it, use systemd's CPUQuota (see the how-to).",
        ),
    ] = None,
    memory_budget_mb: Annotated[float | None, typer.Option("--memory-mb", help="Give stages at most this.")] = None,
    backend: Annotated[str | None, typer.Option("--backend", help="onnxruntime, or torch where installed.")] = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Make this machine a device: it measures itself and its link, then computes what plans give it.

    stageline join mqtt://127.0.0.1:1883 --name pi4

    stageline join mqtt://pi4:PASSWORD@hub.local:1883 --name pi4 --cores 2 --memory-mb 500

    Runs until interrupted. For a device that joins at boot, see `stageline install device`. With --json FILE the
    process ids are written once both run.

    Exit codes: 0 interrupted; 1 monitor or worker crashed (start it again); 2 to mend: no broker, the name is taken.
    """

    async def serve(report: Report) -> int:
        settings = settings_of(broker=broker, root=root)
        device = load(
            WorkerSettings, option_names=_OPTIONS, device=name, capacity_cores=capacity_cores,
            memory_budget_mb=memory_budget_mb, backend=backend,
        ).device  # fmt: skip
        # What a person must mend is said now and once: each service would say it, or keep trying for ever.
        async with open_bus(settings, f"join-{device}"[:64]) as bus:
            await _check_name_is_free(bus, device)
        given = {
            "STAGELINE_BROKER": settings.broker, "STAGELINE_ROOT": settings.root, "STAGELINE_DEVICE": device,
            "STAGELINE_CAPACITY_CORES": capacity_cores, "STAGELINE_MEMORY_BUDGET_MB": memory_budget_mb,
            "STAGELINE_BACKEND": backend,
        }  # fmt: skip
        environment = {variable: str(value) for variable, value in given.items() if value is not None}
        children = [Child(part, python_module(f"services.{part}.main"), environment) for part in _ROLES]
        async with running(*children) as processes:
            report.err.print(f"[bold]{device}[/bold] joins; Ctrl-C to leave")
            report.write_json({"device": device, "pids": {part: one.pid for part, one in processes.items()}})
            return await until_one_ends(processes)

    conduct_service(serve, json)


async def _check_name_is_free(bus: Bus, device: str) -> None:
    boot_id, hostname = new_boot_id(), socket.gethostname()
    claims = (
        claim_name(bus, device=device, boot_id=boot_id, role=role, hostname=hostname, option="--name")
        for role in _ROLES
    )
    # Both are heard to the end: what one says must not be lost, nor told twice, while the other is still asked.
    answers = await asyncio.gather(*claims, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
