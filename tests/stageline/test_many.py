"""Bounded work over a source: order, bound, and nothing left running."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from stageline.many import bounded


async def test_results_come_in_the_order_of_the_source_though_work_ends_otherwise() -> None:
    gates = [asyncio.Event() for _ in range(4)]

    async def work(index: int, item: str) -> str:
        if index == 0:
            await gates[3].wait()
        gates[index].set()
        return f"{index}{item}"

    assert [one async for one in bounded("abcd", work, lambda: 4)] == ["0a", "1b", "2c", "3d"]


async def test_results_come_as_they_finish_when_order_does_not_matter() -> None:
    second = asyncio.Event()

    async def work(index: int, item: str) -> str:
        if index == 0:
            await second.wait()
        return item

    seen = []
    async for one in bounded("ab", work, lambda: 2, in_order=False):
        seen.append(one)
        second.set()
    assert seen == ["b", "a"]


async def test_never_more_than_the_places_are_taken_and_the_source_is_read_no_faster() -> None:
    running = most = read = 0
    together = asyncio.Barrier(3)

    async def source() -> AsyncIterator[int]:
        nonlocal read
        for number in range(21):
            read += 1
            yield number

    async def work(_: int, item: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        assert read <= item + 4
        await together.wait()
        running -= 1
        return item

    assert [one async for one in bounded(source(), work, lambda: 3)] == list(range(21))
    assert most == 3


async def test_an_empty_source_ends_at_once() -> None:
    async def work(_: int, item: int) -> int:
        return item

    assert [one async for one in bounded([], work, lambda: 1)] == []


async def test_stopping_early_cancels_what_runs() -> None:
    cancelled = []

    async def work(index: int, _: int) -> int:
        if index == 2:
            return index
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(index)
            raise
        return index

    results = bounded(range(5), work, lambda: 3, in_order=False)
    assert await anext(results) == 2
    await results.aclose()
    assert cancelled == [0, 1]


async def test_an_error_of_the_work_ends_it_all() -> None:
    async def work(_: int, item: int) -> int:
        return 1 // item

    with pytest.raises(ZeroDivisionError):
        [one async for one in bounded([1, 0, 1], work, lambda: 1)]


async def test_a_source_that_may_block_is_read_off_the_loop() -> None:
    readers = set()

    def source() -> Iterator[int]:
        for number in range(3):
            readers.add(threading.current_thread())
            yield number

    async def work(_: int, item: int) -> int:
        return item

    assert [one async for one in bounded(source(), work, lambda: 1)] == [0, 1, 2]
    assert threading.current_thread() not in readers


async def test_an_error_of_the_source_ends_it_all() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("the folder is gone")

    async def work(_: int, item: int) -> int:
        return item

    with pytest.raises(OSError, match="folder is gone"):
        [one async for one in bounded(source(), work, lambda: 1)]
