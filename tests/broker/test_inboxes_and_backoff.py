"""The pure parts of the bus: who gets a message, where it waits, and how long to wait for a broker."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any, cast

import pytest

from broker import inbox as inbox_module
from broker.backoff import FIRST_S, LONGEST_S, delays
from broker.inbox import Inbox
from broker.message import Incoming
from broker.packet import Publish
from broker.rejections import Rejections
from broker.subscriptions import Subscriptions

NOWHERE = cast("Any", None)


def message(payload: bytes = b"x", *, subscriptions: tuple[int, ...] = (), retained: bool = False) -> Incoming:
    packet = Publish("a", memoryview(payload), 1, retained, 1, None, subscriptions)
    return Incoming(packet, 0.0, NOWHERE)


def inbox(pattern: str = "a", *, bounded: bool = True) -> Inbox:
    return Inbox(pattern, Rejections(), bounded=bounded)


def test_waits_double_from_a_tenth_of_a_second_to_five_seconds_and_are_never_the_same_for_two() -> None:
    seen = list(itertools.islice(delays(random.Random(1)), 12))
    for number, delay in enumerate(seen):
        longest = min(LONGEST_S, FIRST_S * 2**number)
        assert longest / 2 <= delay <= longest
    assert seen != list(itertools.islice(delays(random.Random(2)), 12))


async def test_messages_leave_an_inbox_in_the_order_they_came() -> None:
    box = inbox()
    for number in range(3):
        box.put(message(bytes([number])))
    assert [bytes((await box.get()).packet.payload) for _ in range(3)] == [b"\0", b"\1", b"\2"]


async def test_whoever_reads_a_long_backlog_lets_others_have_their_turn() -> None:
    box = inbox()
    for _ in range(10 * inbox_module.AT_A_STRETCH):
        box.put(message())
    turns = 0

    async def live() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    living = asyncio.create_task(live())
    while len(box):
        await box.get()
    living.cancel()
    assert turns >= 9


async def test_a_reader_that_is_cancelled_between_two_stretches_loses_nothing() -> None:
    box = inbox()
    for number in range(inbox_module.AT_A_STRETCH + 1):
        box.put(message(bytes([number])))
    for _ in range(inbox_module.AT_A_STRETCH):
        await box.get()
    reading = asyncio.create_task(box.get())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()
    assert bytes((await box.get()).packet.payload) == bytes([inbox_module.AT_A_STRETCH])


async def test_an_inbox_that_nobody_reads_loses_its_oldest_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "MOST_MESSAGES", 3)
    monkeypatch.setattr(inbox_module, "MOST_BYTES", 100)
    rejections = Rejections()
    box = Inbox("a", rejections, bounded=True)
    for number in range(5):
        box.put(message(bytes([number])))
    assert rejections.counts == {"overflow": 2}
    assert bytes((await box.get()).packet.payload) == b"\2"
    box.put(message(bytes(200)))
    assert len(box) == 1, "one message always fits, however large"
    assert len((await box.get()).packet.payload) == 200


async def test_an_inbox_for_frames_has_no_bound_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "MOST_MESSAGES", 3)
    box = inbox(bounded=False)
    for _ in range(10):
        box.put(message())
    assert len(box.drain()) == 10
    assert len(box) == 0


async def test_a_failure_comes_after_what_was_there_before_it() -> None:
    box = inbox()
    box.put(message())
    box.fail(ZeroDivisionError())
    await box.get()
    with pytest.raises(ZeroDivisionError):
        await box.get()
    waiting = inbox()
    getting = asyncio.ensure_future(waiting.get())
    await asyncio.sleep(0)
    waiting.fail(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await getting


def test_what_is_retained_goes_to_the_newcomer_who_asked_and_news_to_everybody() -> None:
    book = Subscriptions()
    old, new = inbox(), inbox()
    first = book.identify(book.add(old), old)
    second = book.identify(book.add(new), new)
    assert book.listeners(message(subscriptions=(second,), retained=True)) == [new]
    assert book.listeners(message(subscriptions=(first,), retained=True)) == [old]
    assert book.listeners(message(subscriptions=(first,))) == book.listeners(message(subscriptions=(second,)))
    assert book.listeners(message(subscriptions=(second,))) == [old, new]
    again = book.identify(next(iter(book)), None)
    assert book.listeners(message(subscriptions=(again,), retained=True)) == [old, new]


def test_a_message_for_two_filters_reaches_each_listener_once() -> None:
    book = Subscriptions()
    wide, narrow = inbox("+"), inbox("a")
    numbers = tuple(book.identify(book.add(box), box) for box in (wide, narrow))
    assert book.listeners(message(subscriptions=numbers)) == [wide, narrow]
    assert book.listeners(message(subscriptions=(numbers[0], numbers[0]))) == [wide]


def test_the_last_to_leave_a_filter_ends_it() -> None:
    book = Subscriptions()
    first, second = inbox(), inbox()
    number = book.identify(book.add(first), first)
    book.add(second)
    assert not book.remove(first)
    assert book.listeners(message(subscriptions=(number,))) == [second]
    assert book.remove(second)
    assert book.listeners(message(subscriptions=(number,))) == []
    assert list(book) == []


def test_newcomers_without_end_leave_no_trace_without_end() -> None:
    book = Subscriptions()
    stays = inbox()
    entry = book.add(stays)
    for _ in range(1000):
        passing = inbox()
        book.add(passing)
        number = book.identify(entry, passing)
        book.remove(passing)
    assert len(entry.identifiers) < 100
    assert book.listeners(message(subscriptions=(number,))) == [stays]
