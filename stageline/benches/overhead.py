"""`stageline bench overhead`: what an answer costs more through Stageline than by a call of ONNX Runtime.

One device holds the whole model: a private broker, a real worker process with one compute thread, and a client here.
The same pictures go through ONNX Runtime in this process, with one thread, and through the line, in turns; medians, and
the median of the differences within each turn. Pictures are decoded beforehand: that costs the same either way.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
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
from stageline.benches.one_worker import DEPLOYMENT, TIMEOUT_S, one_worker, serve, whole_plan
from stageline.client import Client
from stageline.packaged_pictures import packaged_pictures
from stageline.receipts import Receipt

MODEL: Final = "efficientnet-lite0"
TURNS: Final = 300
QUICK_TURNS: Final = 10
WARM_UP: Final = 30


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
    async with Bus(url, name="bench-overhead") as bus, AsyncExitStack() as stack:
        await stack.enter_async_context(one_worker(url, bus, library))
        await serve(bus, whole_plan(card))
        client = await stack.enter_async_context(Client(url, deployment=DEPLOYMENT))
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
    answer = await client.submit(tensors, deadline_s=TIMEOUT_S)
    return (time.perf_counter() - started) * 1000, answer.receipt
