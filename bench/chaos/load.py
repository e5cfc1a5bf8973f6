"""The load: one real client, requests at an even pace, every result compared with the unsplit model's and recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from itertools import count
from typing import Final

import numpy as np

from bench.chaos.record import Record, Shown
from bench.chaos.scenario import Load
from models.runtime import StageRunner
from schemas.codec import Array
from stageline.client import Client
from stageline.receipts import RequestFailedError, Result

RTOL: Final = 1e-4
ATOL: Final = 1e-5
_LOST_AFTER_S: Final = 5.0
"""Beyond its deadline: a request without a result by then is lost."""
_BEHIND_S: Final = 0.25
"""A pace that was held up for longer goes on from where it is, rather than making up for it in one burst."""

Outputs = Mapping[str, Array] | None
"""The unsplit model's; None for an input that it raises on, to which every answer is wrong."""


def references(reference: StageRunner, inputs: Sequence[Mapping[str, Array]]) -> list[Outputs]:
    """What the unsplit model answers to each input."""

    def run(tensors: Mapping[str, Array]) -> Outputs:
        try:
            return reference.run(tensors)
        except Exception:  # whatever a runtime raises on a poisonous input
            return None

    return [run(tensors) for tensors in inputs]


def right(expected: Outputs, outputs: Mapping[str, Array]) -> bool:
    """Whether an answer has the same outputs as the unsplit model's, each within `RTOL` and `ATOL`."""
    if expected is None or expected.keys() != outputs.keys():
        return False
    return all(
        array.shape == outputs[name].shape and np.allclose(outputs[name], array, rtol=RTOL, atol=ATOL, equal_nan=True)
        for name, array in expected.items()
    )


class Generator:
    """Hands requests in until the story is over (`finish`) and there were enough of them."""

    def __init__(
        self,
        client: Client,
        inputs: Sequence[Mapping[str, Array]],
        expected: Sequence[Outputs],
        record: Record,
        load: Load,
    ) -> None:
        self._client = client
        self._inputs = inputs
        self._expected = expected
        self._record = record
        self._load = load
        self._over_s: float | None = None
        self.rate_rps = load.rate_rps
        """May be changed at any time."""

    def finish(self) -> None:
        """The story is over: `after_s` more, then no further requests, once there were `least`."""
        self._over_s = self._record.clock() + self._load.after_s

    async def run(self) -> None:
        """Submit and record until every request has a result; those that have none long after their deadline: never."""
        results = asyncio.create_task(self._collect())
        try:
            while not results.done() and not self._given_up():
                await asyncio.wait([results], timeout=0.2)
            if results.done():
                await results
        finally:
            results.cancel()
            with suppress(asyncio.CancelledError):
                await results

    def _given_up(self) -> bool:
        ended_s = self._record.load_ended_s
        return ended_s is not None and self._record.clock() > ended_s + self._load.deadline_s + _LOST_AFTER_S

    async def _collect(self) -> None:
        submitted = self._client.submit_many(
            self._paced(), deadline_s=self._load.deadline_s, in_order=False, at_once=self._load.at_once
        )
        async with aclosing(submitted) as results:
            async for result in results:
                self._record.shown.append(self._shown(result))

    async def _paced(self) -> AsyncIterator[Mapping[str, Array]]:
        clock, next_s = self._record.clock, self._record.clock()
        for index in count():
            await asyncio.sleep(max(0.0, next_s - clock()))
            now_s = clock()
            if self._over_s is not None and now_s >= self._over_s and index >= self._load.least:
                self._record.load_ended_s = now_s
                return
            self._record.submitted[index] = now_s
            yield self._inputs[index % len(self._inputs)]
            next_s = max(next_s + 1 / self.rate_rps, clock() - _BEHIND_S)

    def _shown(self, result: Result) -> Shown:
        now_s = self._record.clock()
        if result.answer is None:
            error = result.error
            told = (error.reason, error.sent) if isinstance(error, RequestFailedError) else (type(error).__name__, 0)
            return Shown(result.index, now_s, reason=told[0], detail=str(error), sent=told[1])
        same = right(self._expected[result.index % len(self._inputs)], result.answer.outputs)
        receipt = result.answer.receipt
        return Shown(result.index, now_s, result.answer.request, receipt.generation, right=same)
