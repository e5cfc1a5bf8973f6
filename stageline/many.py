"""Many things at a time, but not too many: starts work from a source as earlier work finishes, yields the results."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from itertools import islice
from typing import Any, Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_HELD_PER_PLACE: Final = 8
"""With results in order, finished ones behind a slow one are kept, up to this many per place."""


async def bounded(
    source: Iterable[T] | AsyncIterable[T],
    work: Callable[[int, T], Awaitable[R]],
    places: Callable[[], int],
    *,
    in_order: bool = True,
) -> AsyncGenerator[R, None]:
    """Results of `work(index, item)` for every item, in the order of the source or as they finish.

    Args:
        source: read only as places become free; one that is not asynchronous is read in a thread (it may open files).
        work: its exceptions end everything; what may fail should return its failure.
        places: how much may be under way at once; asked again each time, so that it may change.
        in_order: yield in the order of the source.
    """
    items = aiter(_each(source))
    reading: asyncio.Future[T] | None = None
    exhausted = False
    queue: deque[asyncio.Future[R]] = deque()
    index = 0
    try:
        while True:
            running = {one for one in queue if not one.done()}
            room = max(1, places())
            if not exhausted and reading is None and len(running) < room and len(queue) < room * _HELD_PER_PLACE:
                reading = asyncio.ensure_future(anext(items))
            waits: set[asyncio.Future[Any]] = {*running, *([reading] if reading else [])}
            if waits and not (queue and any(one.done() for one in ([queue[0]] if in_order else queue))):
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if reading is not None and reading.done():
                if isinstance(reading.exception(), StopAsyncIteration):
                    exhausted = True
                else:
                    queue.append(asyncio.ensure_future(work(index, reading.result())))
                    index += 1
                reading = None
            while (done := _take(queue, in_order=in_order)) is not None:
                yield done.result()
            if exhausted and not queue:
                return
    finally:
        left: list[asyncio.Future[Any]] = [*queue, *([reading] if reading else [])]
        for one in left:
            one.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _take(queue: deque[asyncio.Future[R]], *, in_order: bool) -> asyncio.Future[R] | None:
    for one in [queue[0]] if in_order and queue else list(queue):
        if one.done():
            queue.remove(one)
            return one
    return None


async def _each(source: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
    else:
        left = iter(source)
        while one := await asyncio.to_thread(lambda: tuple(islice(left, 1))):
            yield one[0]
