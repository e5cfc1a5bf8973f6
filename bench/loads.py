"""The two loads that a line is measured under: one request at a time, and as many as it takes.

At rest, one request at a time finds an idle line, with a pause of random length before each (a CPU quota is a clock:
asking in step with it would measure the step). Flat out, requests are submitted as fast as the routes' windows take
them, and only a stretch of the steady state counts: neither the filling of the line nor its last requests, when
some devices have nothing left to do.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Literal

from bench.line import DEADLINE_S, Bed, Line
from bench.window import Window, settle_s, steady_rps
from schemas.codec import Array
from stageline.receipts import EnergyMethod, Receipt

REST_S: Final = (0.01, 0.03)
"""Between requests that are submitted one by one."""
SUBMITTER: Final = "submitter"
_WARM_UP: Final = 3
_SPARE: Final = 4
"""Requests held beyond a route's window, so that it is full again the moment answers leave it, several at once too.
No more: all that is held must be answered before the next measurement."""


@dataclass(frozen=True)
class FlatOut:
    """One stretch of a line's steady state."""

    throughput_rps: float
    cpu_s: dict[str, float]
    wall_s: float
    resident_bytes: dict[str, int]
    energy_j: float
    energy_method: EnergyMethod
    counted: int
    """Answers in the stretch."""
    latencies_ms: tuple[float, ...]
    """Of those answers, from sending to answer: how long a request is under way when the line is full."""


async def at_rest(line: Line, count: int) -> tuple[float, ...]:
    """Latencies of so many requests one by one, ms; a few more go before them and are not counted."""
    latencies = []
    for number in range(_WARM_UP + count):
        await asyncio.sleep(random.uniform(*REST_S))  # noqa: S311  not a secret
        receipt = await line.ask(number)
        if number >= _WARM_UP:
            latencies.append(receipt.latency_ms)
    return tuple(latencies)


async def flat_out(bed: Bed, line: Line, seconds: float) -> FlatOut:
    """Keep every route's window full, and look at `seconds` of the steady state.

    Raises:
        stageline.receipts.RequestFailedError: a request got no answer.
    """
    now = time.monotonic
    begin = now() + settle_s(line.plan)
    window = Window(begin, begin + seconds)
    looking = asyncio.create_task(_spent(bed, window))
    arrivals: list[tuple[float, Receipt]] = []
    try:
        held = sum(route.window + _SPARE for route in line.plan.routes)
        submitted = line.client.submit_many(
            _until(line, window.end), deadline_s=DEADLINE_S, in_order=False, at_once=held
        )
        async with aclosing(submitted) as results:
            async for result in results:
                if result.answer is None:
                    raise result.error or RuntimeError("neither an answer nor an error")
                arrivals.append((now(), result.answer.receipt))
                line.compare(result.index % len(line.inputs), result.answer)
        cpu_s, wall_s, resident = await looking
    finally:
        looking.cancel()
    inside = [receipt for at, receipt in arrivals if window.holds(at)]
    return FlatOut(
        throughput_rps=steady_rps([at for at, _ in arrivals], window),
        cpu_s=cpu_s,
        wall_s=wall_s,
        resident_bytes=resident,
        energy_j=fmean(receipt.energy_j for receipt in inside) if inside else float("nan"),
        energy_method=weakest({receipt.energy_method for receipt in inside}),
        counted=len(inside),
        latencies_ms=tuple(receipt.line_ms for receipt in inside),
    )


def weakest(methods: set[EnergyMethod]) -> EnergyMethod:
    """What may be said of joules from several receipts: the least that one of them may."""
    order: tuple[Literal["unknown", "modelled", "measured"], ...] = ("unknown", "modelled", "measured")
    return next((method for method in order if method in methods), "unknown")


async def _until(line: Line, end: float) -> AsyncIterator[Mapping[str, Array]]:
    for inputs in itertools.cycle(line.inputs):
        if time.monotonic() >= end:
            return
        yield inputs


async def _spent(bed: Bed, window: Window) -> tuple[dict[str, float], float, dict[str, int]]:
    """CPU seconds by service between the window's ends, how long that really was, and memory at its end."""
    await asyncio.sleep(window.begin - time.monotonic())
    begun, before = time.monotonic(), {**bed.cpu_s(), SUBMITTER: time.process_time()}
    await asyncio.sleep(window.end - time.monotonic())
    ended, after = time.monotonic(), {**bed.cpu_s(), SUBMITTER: time.process_time()}
    return {name: after[name] - before.get(name, 0.0) for name in after}, ended - begun, bed.resident_bytes()
