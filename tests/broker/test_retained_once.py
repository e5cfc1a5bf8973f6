"""Retained messages that are published once: no listener hears one twice, whatever breaks."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from broker.address import BrokerAddress
from broker.backoff import delays
from broker.bus import Bus
from broker.connection import Connection
from broker.embedded import EmbeddedBroker
from broker.errors import ConnectionLostError, PublishRefusedError
from broker.message import Outgoing
from broker.once import OncePublisher
from schemas.deployment import HubStatus
from schemas.topics import HUB_STATUS

STATUS = HubStatus(online=True, boot_id="b1", version="1")


def publisher(broker: EmbeddedBroker, root: str) -> OncePublisher:
    return OncePublisher(BrokerAddress.parse(broker.url), f"once-{root.partition('/')[0]}", root=root)


@asynccontextmanager
async def heard(broker: EmbeddedBroker, root: str) -> AsyncIterator[Counter[str]]:
    """How often each message was heard live; all of them by the time this is left."""
    count: Counter[str] = Counter()
    ended = asyncio.Event()
    async with Bus(broker.url, name="reader", root=root) as bus, bus.watch(HUB_STATUS) as changes:

        async def listen() -> None:
            async for change in changes:
                count[change.message.boot_id if change.message else ""] += 1
                if count["end"]:
                    ended.set()

        listening = asyncio.create_task(listen())
        yield count
        async with asyncio.timeout(10):
            await bus.publish(HUB_STATUS, STATUS.model_copy(update={"boot_id": "end"}))
            await ended.wait()
        listening.cancel()


async def test_what_another_life_has_published_is_not_said_again(broker: EmbeddedBroker, root: str) -> None:
    async with heard(broker, root) as count:
        async with publisher(broker, root) as one:
            await one.publish(HUB_STATUS, STATUS, expiry_s=60)
        async with publisher(broker, root) as other:
            await other.publish(HUB_STATUS, STATUS, expiry_s=60, doubted=True)
    assert count["b1"] == 1


async def test_what_another_life_has_not_published_is_said(broker: EmbeddedBroker, root: str) -> None:
    async with heard(broker, root) as count, publisher(broker, root) as one:
        await one.publish(HUB_STATUS, STATUS, expiry_s=60, doubted=True)
    assert count["b1"] == 1


@pytest.mark.parametrize("arrived", [True, False], ids=["the broker had it", "the broker never had it"])
async def test_a_connection_that_breaks_before_the_answer_repeats_nothing(
    broker: EmbeddedBroker, root: str, monkeypatch: pytest.MonkeyPatch, arrived: bool
) -> None:
    honest = Connection.publish
    broken = 0

    async def breaks(self: Connection, message: Outgoing):
        nonlocal broken
        if message.address.startswith(root) and b"b1" in message.payload and not broken:
            broken += 1
            if arrived:
                await honest(self, message)
            self._wire.drop()
            self._end("cut")
            raise ConnectionLostError("cut")
        return await honest(self, message)

    async with heard(broker, root) as count, publisher(broker, root) as one:
        monkeypatch.setattr(Connection, "publish", breaks)
        await one.publish(HUB_STATUS, STATUS, expiry_s=60)
        monkeypatch.undo()
    assert (broken, count["b1"]) == (1, 1)


async def test_a_connection_that_never_lasts_is_tried_less_and_less_often_and_told_once(
    broker: EmbeddedBroker, root: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As when another program has our client id: each of the two throws the other out."""
    waits: list[list[float]] = []

    def recorded(rng: random.Random) -> Iterator[float]:
        waits.append([])
        for seconds in delays(rng):
            waits[-1].append(seconds)
            yield 0.0

    async def breaks(self: Connection, message: Outgoing):
        tries = sum(map(len, waits))
        if tries == 8:
            return await honest(self, message)
        reason = "taken over" if tries < 7 else "cut"
        self._wire.drop()
        self._end(reason)
        raise ConnectionLostError(reason)

    honest = Connection.publish
    monkeypatch.setattr("broker.once.delays", recorded)
    monkeypatch.setattr(Connection, "publish", breaks)
    async with publisher(broker, root) as one:
        await one.publish(HUB_STATUS, STATUS, expiry_s=60)
    assert [len(one) for one in waits] == [8]
    assert waits[0][-1] > 2.0
    said = [record.message for record in caplog.records if record.name == "broker.once"]
    assert [one.rpartition(": ")[2] for one in said] == ["taken over", "cut"]


async def test_what_nobody_clears_is_forgotten_by_the_broker(broker: EmbeddedBroker, root: str) -> None:
    async with publisher(broker, root) as one:
        await one.publish(HUB_STATUS, STATUS, expiry_s=1)
    async with Bus(broker.url, name="reader", root=root) as bus, asyncio.timeout(10):
        while True:
            if not await bus.snapshot(HUB_STATUS):
                break
            await asyncio.sleep(0.1)


async def test_a_broker_that_refuses_is_an_error() -> None:
    with EmbeddedBroker(files={"acl_file": "topic read #\n"}) as closed:
        async with publisher(closed, "r") as one:
            with pytest.raises(PublishRefusedError):
                await one.publish(HUB_STATUS, STATUS, expiry_s=None)
