"""`stageline bench memory`: what a worker process keeps in memory with all of MobileNetV2, while it serves.

A private broker, the hub's own library server and a real worker process; the plan is published by the bench itself. The
worker is measured before it holds anything, and after it has answered some frames.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from models.importer import import_model
from models.library import Library
from schemas.frame import encode_frame
from schemas.frame_header import FrameHeader
from schemas.model import ModelCard
from schemas.plan import Plan
from schemas.topics import ANSWER, STAGE
from stageline.benches.one_worker import DEVICE, TIMEOUT_S, one_worker, serve, whole_plan

MODEL: Final = "mobilenet_v2"
_FRAMES: Final = 20
_QUICK_FRAMES: Final = 3


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
        return asyncio.run(_measure(broker.url, library, card, _QUICK_FRAMES if quick else _FRAMES))


async def _measure(url: str, library: Library, card: ModelCard, frames: int) -> dict[str, float]:
    plan = whole_plan(card)
    async with asyncio.timeout(TIMEOUT_S), Bus(url, name="bench") as bus, one_worker(url, bus, library) as worker:
        idle = worker.memory_info().rss
        await serve(bus, plan)
        await _serve_some(bus, card, plan, frames)
        memory = worker.memory_full_info()
        return {"worker_rss_mb": memory.rss / 1e6, "worker_uss_mb": memory.uss / 1e6, "idle_rss_mb": idle / 1e6}


async def _serve_some(bus: Bus, card: ModelCard, plan: Plan, frames: int) -> None:
    header = FrameHeader(
        kind="work",
        request="bench",
        submitter="bench",
        deployment=plan.deployment,
        generation=plan.generation,
        budget_ms=TIMEOUT_S * 1000,
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
                device=DEVICE,
                stage="r0s0",
            )
            delivery = await anext(answers)
            delivery.ack()
