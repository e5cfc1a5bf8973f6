"""`stageline bench overhead`: what an answer costs more through Stageline than by a call of ONNX Runtime.

One device holds the whole model: a private broker, a real worker process with one compute thread, and a client here.
The same pictures go through ONNX Runtime in this process, with one thread, and through the line, in turns; medians, and
the median of the differences within each turn. Pictures are decoded beforehand: that costs the same either way.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from models.importer import import_model
from models.library import Library
from models.pictures import load_picture
from models.runtime import StageRunner, load_stage
from schemas.codec import Array
from schemas.model import ModelCard
from schemas.plan import Plan, Route, Stage
from schemas.topics import DEVICE_STAGES, PLAN_CURRENT
from services.planner.library_server import LibraryServer
from stageline.client import Client
from stageline.packaged_pictures import packaged_pictures
from stageline.processes import Child, python_module, running
from stageline.receipts import Receipt

MODEL: Final = "efficientnet-lite0"
TURNS: Final = 300
QUICK_TURNS: Final = 10
WARM_UP: Final = 30
_DEVICE: Final = "bench-worker"
_DEPLOYMENT: Final = "bench"
_TIMEOUT_S: Final = 120.0


def run(progress: Callable[[str, float], None] | None = None, *, quick: bool = False) -> dict[str, float]:
    """Measure.

    Returns:
        Milliseconds: `direct_ms`, `stageline_ms` and `added_ms` (medians), and where the time goes by the receipts'
        medians: `wait_ms` at the worker, `compute_ms`, `codec_ms`, and `travel_ms`, the rest.
    """
    report = progress or (lambda _text, _share: None)
    with tempfile.TemporaryDirectory(prefix="stageline-bench-") as folder, EmbeddedBroker() as broker:
        report(f"importing {MODEL}", 0.0)
        library = Library(Path(folder) / "library")
        card = import_model(MODEL, library)
        report("starting a worker", 0.3)
        return asyncio.run(_measure(broker.url, library, card, QUICK_TURNS if quick else TURNS, report))


async def _measure(
    url: str, library: Library, card: ModelCard, turns: int, report: Callable[[str, float], None]
) -> dict[str, float]:
    inputs = [_picture(card, path) for path in packaged_pictures()]
    direct = load_stage(card, library.blobs, 0, len(card.blocks), threads=1)
    plan = Plan(
        deployment=_DEPLOYMENT, generation=1, model=card.name, card_sha=card.sha256, objective="latency",
        policy="best-single", routes=(Route(stages=(Stage(device=_DEVICE, first=0, last=len(card.blocks)),)),),
    )  # fmt: skip
    async with _serving(url, library, plan), Client(url, deployment=_DEPLOYMENT) as client:
        direct_ms: list[float] = []
        through_ms: list[float] = []
        receipts: list[Receipt] = []
        for turn in range(WARM_UP + turns):
            tensors = inputs[turn % len(inputs)]
            # Who goes first alternates: the second one finds warmer caches.
            if turn % 2:
                alone, (through, receipt) = _direct(direct, tensors), await _through(client, tensors)
            else:
                (through, receipt), alone = await _through(client, tensors), _direct(direct, tensors)
            if turn >= WARM_UP:
                direct_ms.append(alone)
                through_ms.append(through)
                receipts.append(receipt)
                report("measuring", 0.4 + 0.6 * (turn - WARM_UP) / turns)
    direct.close()
    stages = [receipt.stages[0] for receipt in receipts]
    return {
        "direct_ms": statistics.median(direct_ms),
        "stageline_ms": statistics.median(through_ms),
        "added_ms": statistics.median(b - a for a, b in zip(direct_ms, through_ms, strict=True)),
        "wait_ms": statistics.median(stage.wait_ms for stage in stages),
        "compute_ms": statistics.median(stage.compute_ms for stage in stages),
        "codec_ms": statistics.median(stage.codec_ms for stage in stages),
        "travel_ms": statistics.median(receipt.travel_ms for receipt in receipts),
    }


@asynccontextmanager
async def _serving(url: str, library: Library, plan: Plan) -> AsyncIterator[None]:
    """A worker that holds the plan's one stage; weights come from the hub's own library server."""
    settings = {
        "BROKER": url,
        "DEVICE": _DEVICE,
        "THREADS": "1",
        "STATE_DIR": str(library.root.parent / "state"),
        "LOG_LEVEL": "ERROR",
    }
    others = {name: "" for name in os.environ if name.startswith("STAGELINE_")}
    environment = {**others, **{f"STAGELINE_{name}": value for name, value in settings.items()}}
    async with Bus(url, name="bench-overhead") as bus:
        server = LibraryServer(bus, library)
        await server.scan()
        serving = asyncio.create_task(server.serve())
        try:
            async with running(Child("worker", python_module("services.worker.main"), environment)):
                await bus.publish(PLAN_CURRENT, plan, deployment=plan.deployment)
                await _ready(bus)
                yield
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


async def _ready(bus: Bus) -> None:
    async with asyncio.timeout(_TIMEOUT_S), bus.subscribe(DEVICE_STAGES, device=_DEVICE) as messages:
        async for message in messages:
            stages = message.message.stages
            if any(stage.state == "failed" for stage in stages):
                raise RuntimeError(f"the worker could not load the model: {stages[0].error}")
            if any(stage.state == "ready" for stage in stages):
                return


def _picture(card: ModelCard, path: Path) -> dict[str, Array]:
    if card.preprocess is None:
        raise RuntimeError(f"{card.name} takes no pictures")
    return {card.inputs[0].name: load_picture(path, card.preprocess)}


def _direct(runner: StageRunner, tensors: dict[str, Array]) -> float:
    started = time.perf_counter()
    runner.run(tensors)
    return (time.perf_counter() - started) * 1000


async def _through(client: Client, tensors: dict[str, Array]) -> tuple[float, Receipt]:
    started = time.perf_counter()
    answer = await client.submit(tensors, deadline_s=_TIMEOUT_S)
    return (time.perf_counter() - started) * 1000, answer.receipt
