"""A service's own retained topics hold what it said last, whoever else writes there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from broker.bus import Bus, RawDelivery
from broker.embedded import EmbeddedBroker
from broker.message import Outgoing
from schemas.deployment import Decision
from schemas.device import DeviceStatus
from schemas.topics import DEVICE_STATUS, PLAN_DECISION, Topic
from services import guarding as guarding_module
from services.guarding import Guard

WITHIN_S = 10.0


def decision(name: str, explanation: str = "") -> Decision:
    return Decision(deployment=name, generation=1, requested=0.0, state="serving", explanation=explanation)


@pytest.fixture
async def owner(broker: EmbeddedBroker, root: str) -> AsyncIterator[Bus]:
    async with Bus(broker.url, name="owner", root=root) as bus:
        yield bus


@pytest.fixture
async def stranger(broker: EmbeddedBroker, root: str) -> AsyncIterator[Bus]:
    async with Bus(broker.url, name="stranger", root=root) as bus:
        yield bus


@contextlib.asynccontextmanager
async def guarding(
    bus: Bus, ours: Mapping[Topic[Any], Mapping[str, str]], alone: tuple[Topic[Any], ...] = ()
) -> AsyncIterator[None]:
    task = asyncio.create_task(Guard(bus, ours, alone=alone).follow())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def write(bus: Bus, topic: Topic[Any], payload: bytes, **parameters: str) -> None:
    await bus._entered().publish(Outgoing(bus.full_address(topic, **parameters), payload, retain=True), timeout_s=5)


async def until_kept(bus: Bus, topic: Topic[Any], wanted: list[Any]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while [kept.message for kept in await bus.snapshot(topic)] != wanted:  # noqa: ASYNC110 - as people look
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "foreign", [b"", b"\xff garbage", PLAN_DECISION.encode(decision("line", "a lie"))], ids=["empty", "garbage", "lie"]
)
async def test_what_somebody_else_writes_is_corrected_and_counted(owner: Bus, stranger: Bus, foreign: bytes) -> None:
    async with guarding(owner, {PLAN_DECISION: {}}):
        await owner.publish(PLAN_DECISION, decision("line"), deployment="line")
        await until_kept(stranger, PLAN_DECISION, [decision("line")])
        while not owner.rejected["overwritten"]:
            await write(stranger, PLAN_DECISION, foreign, deployment="line")
            await asyncio.sleep(0.05)
        await until_kept(stranger, PLAN_DECISION, [decision("line")])


async def test_where_nobody_else_has_anything_to_say_it_is_removed(owner: Bus, stranger: Bus) -> None:
    async with guarding(owner, {PLAN_DECISION: {}, DEVICE_STATUS: {}}, alone=(PLAN_DECISION,)):
        await owner.publish(PLAN_DECISION, decision("line"), deployment="line")
        while not owner.rejected["overwritten"]:
            await write(stranger, PLAN_DECISION, PLAN_DECISION.encode(decision("ghost")), deployment="ghost")
            await asyncio.sleep(0.05)
        other = DeviceStatus(device="pi4", boot_id="b", online=True)
        await stranger.publish(DEVICE_STATUS, other, device="pi4")
        await until_kept(stranger, PLAN_DECISION, [decision("line")])
        await asyncio.sleep(0.4)
        assert [kept.message for kept in await owner.snapshot(DEVICE_STATUS)] == [other]


async def test_our_own_words_are_not_taken_for_somebody_elses(owner: Bus) -> None:
    async with guarding(owner, {PLAN_DECISION: {}}, alone=(PLAN_DECISION,)):
        for number in range(30):
            await owner.publish(PLAN_DECISION, decision("line", str(number)), deployment="line")
            await owner.publish(PLAN_DECISION, decision("other", str(number)), deployment="other")
            await asyncio.sleep(0.02)
        await owner.clear(PLAN_DECISION, deployment="other")
        await asyncio.sleep(0.6)
        assert not owner.rejected
        await until_kept(owner, PLAN_DECISION, [decision("line", "29")])


async def test_our_word_of_before_is_no_strangers_while_a_newer_one_is_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guarding_module, "SETTLE_S", 0.0)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    under_way, looked, corrected = True, asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def words(_pattern: str) -> AsyncIterator[AsyncIterator[RawDelivery]]:
        async def each() -> AsyncIterator[RawDelivery]:
            while True:
                word = await heard.get()
                yield RawDelivery(PLAN_DECISION.address(deployment="line"), memoryview(word), False, 0.0)
                heard.task_done()

        yield each()

    def is_saying(_topic: object, **_parameters: str) -> bool:
        looked.set()
        return under_way

    say_again = AsyncMock(side_effect=lambda *_said, **_where: corrected.set())
    bus = Mock(subscribe_bytes=words, said=Mock(return_value=b"new"), is_saying=is_saying, say_again=say_again)
    following = asyncio.create_task(Guard(bus, {PLAN_DECISION: {}}).follow())
    heard.put_nowait(b"old")
    async with asyncio.timeout(WITHIN_S):
        await looked.wait()
    bus.dropped.assert_not_called()
    heard.put_nowait(b"new")
    await heard.join()
    under_way = False
    heard.put_nowait(b"a stranger's")
    async with asyncio.timeout(WITHIN_S):
        await corrected.wait()
    bus.dropped.assert_called_once()
    following.cancel()
    await asyncio.wait([following])
