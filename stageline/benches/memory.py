"""`stageline bench memory`: what a worker process keeps in memory with all of MobileNetV2, while it serves.

A private broker, the hub's own library server and a real worker process; the plan is published by the bench itself. The
worker is measured before it holds anything, and after it has answered some frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import numpy as np
import psutil

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from models.importer import import_model
from models.library import Library
from schemas.frame import FrameHeader, encode_frame
from schemas.model import ModelCard
from schemas.plan import Plan, Route, Stage
from schemas.topics import ANSWER, DEVICE_STAGES, PLAN_CURRENT, STAGE
from services.planner.library_server import LibraryServer

MODEL: Final = "mobilenet_v2"
_DEVICE: Final = "bench-worker"
_FRAMES: Final = 20
_QUICK_FRAMES: Final = 3
_TIMEOUT_S: Final = 120.0


class WorkerStageFailedError(RuntimeError):
    """The worker could not hold the model; the message is its own."""


def run(progress: Callable[[str, float], None] | None = None, *, quick: bool = False) -> dict[str, float]:
    """Measure, with random weights: memory does not depend on their values.

    Returns:
        Megabytes (10^6 bytes): `worker_rss_mb` with the model loaded and serving, `worker_uss_mb` of that its own
        (not shared with other processes), `idle_rss_mb` before it held anything.
    """
    report = progress or (lambda _text, _share: None)
    with tempfile.TemporaryDirectory(prefix="stageline-bench-") as folder, EmbeddedBroker() as broker:
        report(f"importing {MODEL}", 0.0)
        library = Library(Path(folder) / "library")
        card = import_model(MODEL, library, weights="random")
        report("starting a worker", 0.5)
        return asyncio.run(_measure(broker.url, Path(folder), library, card, _QUICK_FRAMES if quick else _FRAMES))


async def _measure(url: str, folder: Path, library: Library, card: ModelCard, frames: int) -> dict[str, float]:
    async with asyncio.timeout(_TIMEOUT_S), Bus(url, name="bench") as bus, AsyncExitStack() as stack:
        server = LibraryServer(bus, library)
        await server.scan()
        serving = asyncio.create_task(server.serve())
        stack.push_async_callback(asyncio.wait, [serving])
        stack.callback(serving.cancel)
        worker = await stack.enter_async_context(_worker(url, folder))
        await _held(bus, lambda states: not states)
        idle = worker.memory_info().rss
        plan = _plan(card)
        await bus.publish(PLAN_CURRENT, plan, deployment=plan.deployment)
        await _held(bus, lambda states: states == ["ready"])
        await _serve_some(bus, card, plan, frames)
        memory = worker.memory_full_info()
        return {"worker_rss_mb": memory.rss / 1e6, "worker_uss_mb": memory.uss / 1e6, "idle_rss_mb": idle / 1e6}


@contextlib.asynccontextmanager
async def _worker(url: str, folder: Path) -> AsyncIterator[psutil.Process]:
    """A worker as `stageline join` starts it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STAGELINE_")}
    environment |= {"STAGELINE_STATE_DIR": str(folder / "state"), "STAGELINE_LOG_LEVEL": "WARNING"}
    command = (sys.executable, "-m", "services.worker.main", "--broker", url, "--device", _DEVICE, "--threads", "1")
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield psutil.Process(process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _held(bus: Bus, wanted: Callable[[list[str]], bool]) -> None:
    async with bus.subscribe(DEVICE_STAGES, device=_DEVICE) as deliveries:
        async for delivery in deliveries:
            failed = [stage.error for stage in delivery.message.stages if stage.state == "failed"]
            if failed:
                raise WorkerStageFailedError(f"the worker does not hold {MODEL}: {failed[0]}")
            if delivery.message.online and wanted([stage.state for stage in delivery.message.stages]):
                return


async def _serve_some(bus: Bus, card: ModelCard, plan: Plan, frames: int) -> None:
    header = FrameHeader(
        kind="work",
        request="bench",
        submitter="bench",
        deployment=plan.deployment,
        generation=plan.generation,
        budget_ms=_TIMEOUT_S * 1000,
    )
    payload = encode_frame(header, {spec.name: np.zeros(spec.shape, spec.dtype) for spec in card.inputs})
    async with bus.frames(ANSWER, submitter="bench") as answers:
        for _ in range(frames):
            await bus.send_frame(
                STAGE,
                payload,
                expiry_s=60,
                correlation="bench",
                deployment=plan.deployment,
                generation=plan.generation,
                device=_DEVICE,
                stage="r0s0",
            )
            delivery = await anext(answers)
            delivery.ack()


def _plan(card: ModelCard) -> Plan:
    whole = Stage(device=_DEVICE, first=0, last=len(card.blocks))
    return Plan(
        deployment="bench",
        generation=1,
        model=card.name,
        card_sha=card.sha256,
        objective="latency",
        policy="best-single",
        routes=(Route(stages=(whole,)),),
    )
