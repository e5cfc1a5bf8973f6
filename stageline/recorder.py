"""Writes what a fleet says into a file, as it comes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any, BinaryIO, Final

from broker.bus import Bus
from broker.delivery import Change
from schemas.topics import Topic
from stageline.recording import LARGEST_BYTES, RECORDED_TOPICS, Heard, header_line, line_of

FLUSH_S: Final = 1.0
"""A recorder that is killed loses no more than this."""


class Recorder:
    """Follows the bus once `run`; figures are true at any time."""

    def __init__(self, bus: Bus, file: BinaryIO, *, most_bytes: int = LARGEST_BYTES) -> None:
        self.messages: Counter[str] = Counter()
        """By kind of topic (its template)."""
        self.nbytes = 0
        self.seconds = 0.0
        self.full = False
        """It ended because the file had grown to `most_bytes`."""
        self._bus = bus
        self._file = file
        self._most_bytes = most_bytes
        self._began_s = 0.0
        self._done = asyncio.Event()

    async def run(self, for_s: float | None = None) -> None:
        """Record for so long, or until cancelled, or until the file is as large as it may be.

        What the broker keeps comes first. The file is complete to the last message whenever this ends.
        """
        self._began_s = asyncio.get_running_loop().time()
        self._write(header_line(time.time()))
        try:
            async with AsyncExitStack() as stack:
                group = await stack.enter_async_context(asyncio.TaskGroup())
                tasks = [group.create_task(self._keep_flushing())]
                try:
                    for topic in RECORDED_TOPICS:
                        stream = await stack.enter_async_context(self._bus.watch(topic))
                        tasks.append(group.create_task(self._follow(topic, stream)))
                    with suppress(TimeoutError):
                        async with asyncio.timeout(for_s):
                            await self._done.wait()
                finally:
                    for task in tasks:
                        task.cancel()
        finally:
            self._tell_time()
            self._file.flush()

    async def _follow(self, topic: Topic[Any], stream: AsyncIterator[Change[Any]]) -> None:
        async for change in stream:
            if self._done.is_set():
                return
            self._tell_time()
            line = line_of(Heard(self.seconds, topic, change.parameters, change.message, change.retained))
            if self.nbytes + len(line) > self._most_bytes:
                self.full = True
                self._done.set()
                return
            self._write(line)
            self.messages[topic.template] += 1

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self._tell_time()
            self._file.flush()

    def _tell_time(self) -> None:
        self.seconds = asyncio.get_running_loop().time() - self._began_s

    def _write(self, line: bytes) -> None:
        self._file.write(line)
        self.nbytes += len(line)
