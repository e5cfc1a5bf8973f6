"""One worker process with a whole model, as benches need it: weights from the hub's own library server, one thread."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Final

import psutil

from broker.bus import Bus
from models.library import Library
from schemas.model import ModelCard
from schemas.plan import Plan, Route, Stage
from schemas.topics import DEVICE_STAGES, PLAN_CURRENT
from services.planner.library_server import LibraryServer
from stageline.processes import Child, python_module, running

DEVICE: Final = "bench-worker"
DEPLOYMENT: Final = "bench"
TIMEOUT_S: Final = 120.0


class WorkerStageFailedError(RuntimeError):
    """The worker could not hold the model; the message is its own."""


def whole_plan(card: ModelCard) -> Plan:
    """The plan that has the worker hold all of a model."""
    whole = Stage(device=DEVICE, first=0, last=len(card.blocks))
    return Plan(
        deployment=DEPLOYMENT, generation=1, model=card.name, card_sha=card.sha256, objective="latency",
        policy="best-single", routes=(Route(stages=(whole,)),),
    )  # fmt: skip


@contextlib.asynccontextmanager
async def one_worker(url: str, bus: Bus, library: Library) -> AsyncIterator[psutil.Process]:
    """A worker that is there and holds nothing yet, and a server of the library's weights, while inside."""
    settings = {
        "BROKER": url,
        "DEVICE": DEVICE,
        "THREADS": "1",
        "STATE_DIR": str(library.root.parent / "state"),
        "LOG_LEVEL": "ERROR",
    }
    others = {name: "" for name in os.environ if name.startswith("STAGELINE_")}
    environment = {**others, **{f"STAGELINE_{name}": value for name, value in settings.items()}}
    server = LibraryServer(bus, library)
    await server.scan()
    serving = asyncio.create_task(server.serve())
    try:
        async with running(Child("worker", python_module("services.worker.main"), environment)) as processes:
            await _held(bus, lambda states: not states)
            yield psutil.Process(processes["worker"].pid)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def serve(bus: Bus, plan: Plan) -> None:
    """Make a plan current, and return when the worker holds it.

    Raises:
        WorkerStageFailedError: it cannot.
    """
    await bus.publish(PLAN_CURRENT, plan, deployment=plan.deployment)
    await _held(bus, lambda states: states == ["ready"])


async def _held(bus: Bus, wanted: Callable[[list[str]], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S), bus.subscribe(DEVICE_STAGES, device=DEVICE) as deliveries:
        async for delivery in deliveries:
            stages = delivery.message.stages
            if failed := [stage.error for stage in stages if stage.state == "failed"]:
                raise WorkerStageFailedError(f"the worker does not hold the model: {failed[0]}")
            if delivery.message.online and wanted([stage.state for stage in stages]):
                return
