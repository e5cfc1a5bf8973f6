"""What a submitter sees of its routes reaches the planner, and costs no request anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from schemas.accuracy import Seen
from schemas.topics import SEEN
from stageline import seen
from stageline.client import Client
from stageline.patience import Patience
from stageline.requests_in_flight import RequestsInFlight
from stageline.seen import Sightings
from stageline.sending import Send
from stageline.under_way import Waits

X = np.arange(4, dtype=np.float32).reshape(1, 4)


def test_each_route_is_told_with_its_median_and_what_waits() -> None:
    sightings = Sightings()
    for seconds in (0.010, 0.030, 0.020):
        sightings.answered(3, 0, seconds)
    first, second = sightings.take(3, {1: Waits(2, 0.7)})
    assert (first.route, first.answers, first.latency_ms, first.waiting) == (0, 3, pytest.approx(20.0), 0)
    assert (second.route, second.answers, second.latency_ms) == (1, 0, 0.0)
    assert (second.waiting, second.silent_s) == (2, 0.7)
    assert sightings.take(3, {}) == ()


def test_where_some_leave_early_the_mean_is_told() -> None:
    sightings = Sightings()
    for seconds, early in ((0.010, True), (0.010, True), (0.070, False)):
        sightings.answered(3, 0, seconds, early=early)
    (first,) = sightings.take(3, {})
    assert first.latency_ms == pytest.approx(30.0)
    sightings.answered(3, 0, 0.010)
    sightings.answered(3, 0, 0.010)
    sightings.answered(3, 0, 0.070)
    assert sightings.take(3, {})[0].latency_ms == pytest.approx(10.0)


def test_answers_of_a_superseded_plan_are_not_told_as_the_new_ones() -> None:
    sightings = Sightings()
    sightings.answered(3, 0, 9.0)
    assert sightings.take(4, {}) == ()
    sightings.answered(4, 1, 0.5)
    sightings.answered(3, 0, 9.0)
    (told,) = sightings.take(4, {})
    assert (told.route, told.latency_ms) == (1, 500.0)


async def test_what_waits_is_told_by_route_with_the_oldest(line) -> None:
    plan = await line.serve("a", "b", window=2)
    flight = RequestsInFlight()
    flight.follow(plan, now=0.0)
    for number, at in enumerate((1.0, 2.0, 3.0)):
        flight.accept(f"q{number}", now=at, deadline=60.0)
        (action,) = flight.due(at)
        assert isinstance(action, Send)
    assert {route: (one.requests, one.oldest_s) for route, one in flight.waits(5.0).items()} == {
        0: (2, 4.0), 1: (1, 3.0),
    }  # fmt: skip
    flight.heard("q0", 0, now=5.0)
    flight.refuse("q0", "cancelled", "nobody waits for it, and the line still has it", now=5.0)
    assert flight.waits(6.0)[0].requests == 2


@asynccontextmanager
async def told(broker: EmbeddedBroker, root: str) -> AsyncIterator[AsyncIterator[Seen]]:
    async with Bus(broker.url, name="planner", root=root) as bus, bus.subscribe(SEEN, deployment="d") as stream:
        yield (delivery.message async for delivery in stream)


async def test_a_submitter_tells_while_it_has_requests_and_once_after(
    line, client_of, broker: EmbeddedBroker, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "_PERIOD_S", 0.1)
    hold = asyncio.Event()

    async def when_told(fake, delivery) -> None:
        await hold.wait()
        await fake.answer(delivery)

    line.behaviour = when_told
    await line.serve("a")
    async with told(broker, root) as reports, client_of(name="me") as client:
        request = asyncio.create_task(client.submit(X))
        async with asyncio.timeout(10):
            early = await anext(reports)
            while not early.routes or early.routes[0].silent_s < 0.2:
                early = await anext(reports)
            assert (early.submitter, early.generation, early.routes[0].waiting) == ("me", 1, 1)
            hold.set()
            await request
            last = await anext(reports)
            while last.routes and last.routes[0].waiting:
                last = await anext(reports)
            assert [(one.answers, one.waiting) for one in last.routes] == [(1, 0)]
            assert last.routes[0].latency_ms > 200
        assert not client.untold


async def test_a_submitter_that_may_not_tell_is_answered_all_the_same(
    running_line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "_PERIOD_S", 0.05)
    rights = "".join(f"topic readwrite r/{one}/#\n" for one in ("stage", "answer", "plan", "model", "device"))
    with EmbeddedBroker(files={"acl_file": rights}) as broker:
        async with running_line(broker, "r") as line:
            await line.serve("a")
            async with Client(broker.url, root="r", deployment="d", patience=Patience(floor_s=60)) as client:
                async with asyncio.timeout(10):
                    while not client.untold:
                        assert np.array_equal((await client.submit(X)).output, 2 * X)
                assert set(client.untold) == {"PublishRefusedError"}
                assert client.audit.failed == client.audit.resent == 0
