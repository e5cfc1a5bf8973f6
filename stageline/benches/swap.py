"""`stageline bench swap`: from one plan to the next under steady load, weights present. How long, and how quiet?

MobileNetV2 (random weights) on three devices: a private broker, a planner, and a monitor and a worker process per
device, one compute thread each, no quota. Every worker first serves whole copies, so that all of them have all
weights. Then a client asks at a steady pace while plans with other cuts follow one another; no stage of a new plan is
held before it is asked for, so each is cut, built and warmed beside the serving.

    swap_ms         from seeing `next` to seeing `current`
    median_gap_ms   between answers, in the seconds before each swap
    longest_gap_ms  between answers, from the new wish until a second after the switch

Medians over the swaps; the worst of each is reported beside them.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from broker.bus import Bus
from broker.delivery import Delivery
from models.importer import import_model
from models.library import Library
from schemas.codec import Array
from schemas.deployment import Deployment, Pin
from schemas.model import ModelCard
from schemas.plan import Plan
from schemas.topics import DEVICE_STAGES, DEVICE_TELEMETRY, PLAN_CURRENT, PLAN_NEXT, Topic
from stageline.client import Client
from stageline.demo.fleet import house
from stageline.deploying import deploy

M = TypeVar("M")

MODEL: Final = "mobilenet_v2"
DEVICES: Final = ("a", "b", "c")
SWAPS: Final = 5
QUICK_SWAPS: Final = 1
ASK_EVERY_S: Final = 0.04
BEFORE_S: Final = 3.0
AFTER_S: Final = 1.0
_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Swap:
    """One change of plans; times in ms."""

    swap_ms: float
    median_gap_ms: float
    longest_gap_ms: float


@dataclass
class _Load:
    """Requests at a steady pace, whatever becomes of them, and when each was answered."""

    client: Client
    tensors: dict[str, Array]
    answered_s: list[float] = field(default_factory=list)

    async def run(self) -> None:
        due_s = time.monotonic()
        async with asyncio.TaskGroup() as requests:
            while True:
                requests.create_task(self._ask())
                due_s += ASK_EVERY_S
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    async def _ask(self) -> None:
        await self.client.submit(self.tensors, deadline_s=_TIMEOUT_S)
        self.answered_s.append(time.monotonic())

    def gaps_ms(self, start_s: float, end_s: float) -> list[float]:
        """Between answers, from the last one before `start_s` to the first one after `end_s`."""
        times = np.array(sorted(self.answered_s))
        first = max(0, int(np.searchsorted(times, start_s)) - 1)
        last = int(np.searchsorted(times, end_s)) + 1
        gaps: list[float] = (np.diff(times[first:last]) * 1e3).tolist()
        return gaps


def run(progress: Callable[[str, float], None] | None = None, *, quick: bool = False) -> dict[str, Any]:
    """Start everything, swap plans, end everything."""
    report = progress or (lambda _text, _share: None)
    with tempfile.TemporaryDirectory(prefix="stageline-bench-") as folder:
        report(f"importing {MODEL}", 0.0)
        card = import_model(MODEL, Library(Path(folder) / "library"), weights="random")
        report("starting three devices", 0.1)
        cores = dict.fromkeys(DEVICES, float(os.cpu_count() or 1))
        with house(Path(folder), Path(folder) / "library", cores, {"STAGELINE_THREADS": "1"}) as running:
            measured = asyncio.run(_measure(running.broker.url, card, QUICK_SWAPS if quick else SWAPS, report))
    return {
        "swap_ms": statistics.median(one.swap_ms for one in measured),
        "median_gap_ms": statistics.median(one.median_gap_ms for one in measured),
        "longest_gap_ms": statistics.median(one.longest_gap_ms for one in measured),
        "worst_swap_ms": max(one.swap_ms for one in measured),
        "worst_gap_ms": max(one.longest_gap_ms for one in measured),
        "swaps": len(measured),
        "ask_every_ms": ASK_EVERY_S * 1e3,
    }


async def _measure(url: str, card: ModelCard, swaps: int, report: Callable[[str, float], None]) -> list[Swap]:
    async with Bus(url, name="bench-swap") as bus:
        await _all_there(bus)
        await deploy(bus, _wish(policy="replicas", objective="throughput"), timeout_s=_TIMEOUT_S)
        pinned = [_pins(card, number) for number in range(swaps + 1)]
        await deploy(bus, _wish(pins=pinned[0]), timeout_s=_TIMEOUT_S)
        async with Client(url, deployment=MODEL) as client:
            await client.ready()
            load = _Load(client, _inputs(card))
            async with asyncio.TaskGroup() as tasks:
                asking = tasks.create_task(load.run())
                measured: list[Swap] = []
                for pins in pinned[1:]:
                    report(f"swap {len(measured) + 1} of {swaps}", 0.5 + 0.5 * len(measured) / swaps)
                    measured.append(await _swap(bus, load, pins))
                asking.cancel()
    return measured


async def _swap(bus: Bus, load: _Load, pins: tuple[Pin, ...]) -> Swap:
    await asyncio.sleep(BEFORE_S)
    async with bus.subscribe(PLAN_NEXT, deployment=MODEL) as upcoming, bus.subscribe(PLAN_CURRENT) as current:
        before = (await anext(current)).message
        wished_s = time.monotonic()
        wished = asyncio.create_task(deploy(bus, _wish(pins=pins), timeout_s=_TIMEOUT_S))
        next_s = await _seen(upcoming, before.generation)
        current_s = await _seen(current, before.generation)
        await wished
    await asyncio.sleep(AFTER_S + 2 * ASK_EVERY_S)
    return Swap(
        swap_ms=(current_s - next_s) * 1e3,
        median_gap_ms=statistics.median(load.gaps_ms(wished_s - BEFORE_S, wished_s)),
        longest_gap_ms=max(load.gaps_ms(wished_s, current_s + AFTER_S)),
    )


async def _seen(plans: AsyncIterator[Delivery[Plan]], after_generation: int) -> float:
    """When a plan after that generation came."""
    async with asyncio.timeout(_TIMEOUT_S):
        while (await anext(plans)).message.generation <= after_generation:
            pass
    return time.monotonic()


async def _all_there(bus: Bus) -> None:
    """Wait until every device can be planned with: its worker is there and its link is measured."""
    async with asyncio.timeout(_TIMEOUT_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(_from_each(bus, DEVICE_TELEMETRY, lambda heard: heard.link is not None))
        tasks.create_task(_from_each(bus, DEVICE_STAGES, lambda heard: heard.online))


async def _from_each(bus: Bus, topic: Topic[M], enough: Callable[[M], bool]) -> None:
    missing = set(DEVICES)
    async with bus.subscribe(topic) as deliveries:
        while missing:
            heard = await anext(deliveries)
            if enough(heard.message):
                missing.discard(heard.parameters["device"])


def _wish(**wish: Any) -> Deployment:
    return Deployment(deployment=MODEL, model=MODEL, requested=time.time(), **wish)


def _pins(card: ModelCard, number: int) -> tuple[Pin, ...]:
    """Three stages of about equal work, cut at other places for each number and never with a stage in common."""
    work = np.cumsum([block.macs for block in card.blocks]) / card.macs
    cuts = [int(np.searchsorted(work, share)) + 1 + number for share in (0.30, 0.60)]
    borders = [0, *cuts, len(card.blocks)]
    order = DEVICES[number % 3 :] + DEVICES[: number % 3]
    return tuple(
        Pin(device=device, first=first, last=last)
        for device, first, last in zip(order, borders, borders[1:], strict=False)
    )


def _inputs(card: ModelCard) -> dict[str, Array]:
    draw = np.random.default_rng(0)
    return {spec.name: draw.integers(0, 255, spec.shape).astype(spec.dtype) for spec in card.inputs}
