"""The client on a real broker: what it sends is answered, with a receipt, from one request to many."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import numpy as np

from broker.delivery import FrameDelivery
from broker.embedded import EmbeddedBroker
from stageline.patience import Patience
from stageline.sync_client import SyncClient

X = np.arange(4, dtype=np.float32).reshape(1, 4)


async def test_a_request_is_answered_with_a_receipt(line, client_of) -> None:
    await line.serve("a", "b")
    async with client_of() as client:
        await client.ready()
        answer = await client.submit(X, traceparent="00-abc-def-01")
    assert np.array_equal(answer.output, 2 * X)
    assert [one.label for one in answer.top(2)] == ["dog", "cat"]
    assert answer.receipt.route in ("r0: a[0:1)", "r1: b[0:1)")
    assert (answer.receipt.generation, answer.receipt.attempts) == (1, 1)
    assert answer.receipt.latency_ms > answer.receipt.held_ms >= 0
    assert client.audit.as_dict() == {
        "submitted": 1, "answered": 1, "failed": 0, "open": 0, "lost": 0, "resent": 0, "duplicates_dropped": 0,
        "late_dropped": 0, "cached": 0,
    }  # fmt: skip
    (header,) = line.seen
    assert header.traceparent == "00-abc-def-01"
    assert 9000 < header.budget_ms <= 10_000


async def test_requests_spread_over_the_routes_and_never_exceed_their_windows(line, client_of) -> None:
    under_way: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def count(fake, delivery: FrameDelivery) -> None:
        device = delivery.parameters["device"]
        under_way[device] += 1
        most[device] = max(most[device], under_way[device])
        await asyncio.sleep(0.002)
        under_way[device] -= 1
        await fake.answer(delivery)

    line.behaviour = count
    await line.serve("a", "b", window=3)
    async with client_of() as client:
        answers = await asyncio.gather(*(client.submit(X * i) for i in range(60)))
    assert all(np.array_equal(one.output, 2 * X * i) for i, one in enumerate(answers))
    assert max(most.values()) <= 3
    assert set(Counter(header.route for header in line.seen)) == {0, 1}


async def test_a_client_that_starts_before_the_plan_waits_for_it(line, client_of) -> None:
    async with client_of() as client:
        waiting = asyncio.create_task(client.submit(X))
        await asyncio.sleep(0)
        await line.serve("a")
        assert np.array_equal((await waiting).output, 2 * X)


async def test_many_come_as_they_finish_when_order_does_not_matter(line, client_of) -> None:
    held = asyncio.Event()

    async def first_is_slow(fake, delivery: FrameDelivery) -> None:
        if delivery.frame.arrays()["x"][0, 1] == 0:
            await held.wait()
        await fake.answer(delivery)

    async def items() -> AsyncIterator[np.ndarray]:
        for number in range(4):
            yield X * number

    line.behaviour = first_is_slow
    await line.serve("a", window=2)
    async with client_of(patience=Patience(floor_s=60)) as client:
        order = []
        async for result in client.submit_many(items(), in_order=False, at_once=2):
            order.append(result.index)
            if len(order) == 3:
                held.set()
    assert order == [1, 2, 3, 0]


async def test_the_blocking_client_does_the_same_from_a_thread(line, broker: EmbeddedBroker, root: str) -> None:
    await line.serve("a")

    def use() -> None:
        with SyncClient(broker.url, deployment="d", root=root, deadline_s=10) as client:
            assert np.array_equal(client.submit(X).output, 2 * X)
            results = list(client.submit_many([X, X * 2, np.zeros(9, np.float32)]))
            assert [one.error is None for one in results] == [True, True, False]
            assert client.audit.answered == 3

    await asyncio.to_thread(use)
