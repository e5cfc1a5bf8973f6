"""The two loads, and what became of every request.

`paced`: requests come at an even pace, whatever becomes of those before them, and latency counts from when a request
was due: a line that falls behind cannot slow its own examination down. `flat-out`: as many as the line takes, for
throughput; its latencies are those of a line kept full.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Literal

from bench.chaos.load import Outputs, right
from schemas.codec import Array
from stageline.client import Client
from stageline.receipts import Answer, RequestFailedError

LoadName = Literal["paced", "flat-out"]
LOADS: Final[tuple[LoadName, ...]] = ("paced", "flat-out")
RATE_RPS: Final = 20.0
"""Of the paced load: what the weakest device of the fleet can carry alone while undisturbed. So there is always a
plan that serves the load, whichever device is disturbed; what counts is how soon it is the one that is served."""
DEADLINE_S: Final = 30.0
"""Of every request."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request and its result; times in seconds since the trace began."""

    due_s: float
    done_s: float
    latency_ms: float
    """Until the answer; of a request that failed, until its failure."""
    failed: str = ""
    """Why, in a word; empty for an answer."""
    right: bool = True
    """Whether the answer equals the unsplit model's."""
    energy_j: float = 0.0
    energy_method: str = "unknown"


@dataclass(frozen=True, slots=True)
class Examined:
    """What is asked, and what should be answered."""

    client: Client
    inputs: Sequence[Mapping[str, Array]]
    expected: Sequence[Outputs]


async def run_load(name: LoadName, examined: Examined, begin_s: float, seconds: float) -> list[Asked]:
    """Ask for so long from `begin_s` on (the event loop's clock), and wait for the last results."""
    if name == "paced":
        return await _paced(examined, begin_s, seconds)
    return await _flat_out(examined, begin_s, seconds)


async def _paced(examined: Examined, begin_s: float, seconds: float) -> list[Asked]:
    clock = asyncio.get_running_loop().time

    async def one(number: int, due_s: float) -> Asked:
        place = number % len(examined.inputs)
        try:
            answer = await examined.client.submit(examined.inputs[place], deadline_s=DEADLINE_S)
        except RequestFailedError as error:
            return _failed(due_s, clock() - begin_s, error)
        done_s = clock() - begin_s
        return _answered(due_s, done_s, (done_s - due_s) * 1000, answer, examined.expected[place])

    async with asyncio.TaskGroup() as group:
        tasks = []
        for number in range(int(RATE_RPS * seconds)):
            due_s = number / RATE_RPS
            await asyncio.sleep(max(0.0, begin_s + due_s - clock()))
            tasks.append(group.create_task(one(number, due_s)))
    return [task.result() for task in tasks]


async def _flat_out(examined: Examined, begin_s: float, seconds: float) -> list[Asked]:
    clock = asyncio.get_running_loop().time

    async def until_the_end() -> AsyncIterator[Mapping[str, Array]]:
        for inputs in itertools.cycle(examined.inputs):
            if clock() >= begin_s + seconds:
                return
            yield inputs

    asked = []
    await asyncio.sleep(max(0.0, begin_s - clock()))
    submitted = examined.client.submit_many(until_the_end(), deadline_s=DEADLINE_S, in_order=False)
    async with aclosing(submitted) as results:
        async for result in results:
            done_s = clock() - begin_s
            if result.answer is None:
                asked.append(_failed(done_s - DEADLINE_S, done_s, result.error))
            else:
                expected = examined.expected[result.index % len(examined.inputs)]
                latency_ms = result.answer.receipt.line_ms
                asked.append(_answered(done_s - latency_ms / 1000, done_s, latency_ms, result.answer, expected))
    return asked


def _failed(due_s: float, done_s: float, error: Exception | None) -> Asked:
    reason = error.reason if isinstance(error, RequestFailedError) else type(error).__name__
    return Asked(due_s, done_s, (done_s - due_s) * 1000, failed=reason)


def _answered(due_s: float, done_s: float, latency_ms: float, answer: Answer, expected: Outputs) -> Asked:
    receipt = answer.receipt
    return Asked(
        due_s, done_s, latency_ms, right=right(expected, answer.outputs), energy_j=receipt.energy_j,
        energy_method=receipt.energy_method,
    )  # fmt: skip
