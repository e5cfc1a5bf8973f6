"""Where one subscriber's messages wait for it: bounded, and loud when the bound is met."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from typing import Final

from broker.connection import Incoming

_LOG = logging.getLogger(__name__)
MOST_MESSAGES: Final = 10_000
MOST_BYTES: Final = 64 << 20


class Inbox:
    """First in, first out, one reader. When full, the oldest message goes and is counted as `overflow`.

    A subscriber that keeps up never gets near the bound; one that is stuck must not eat a Pi's memory, and what it
    will want to know when it is back is the newest. Frames never get there: their bound is Receive Maximum.
    """

    def __init__(self, pattern: str, rejected: Counter[str]) -> None:
        self.pattern = pattern
        self._rejected = rejected
        self._waiting: deque[Incoming] = deque()
        self._nbytes = 0
        self._failure: BaseException | None = None
        self._reader: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Incoming) -> None:
        """Add a message and wake the reader."""
        self._waiting.append(message)
        self._nbytes += len(message.payload)
        while len(self._waiting) > MOST_MESSAGES or (self._nbytes > MOST_BYTES and len(self._waiting) > 1):
            self._nbytes -= len(self._waiting.popleft().payload)
            if self._rejected["overflow"] % MOST_MESSAGES == 0:
                _LOG.warning("%s: its reader is too slow; dropping the oldest messages", self.pattern)
            self._rejected["overflow"] += 1
        self._wake()

    def fail(self, failure: BaseException) -> None:
        """Make every further `get` raise, once what waits has been read."""
        self._failure = failure
        self._wake()

    async def get(self) -> Incoming:
        """The next message."""
        while not self._waiting:
            if self._failure is not None:
                raise self._failure
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        message = self._waiting.popleft()
        self._nbytes -= len(message.payload)
        return message

    def drain(self) -> list[Incoming]:
        """Everything that waits; the inbox is empty afterwards."""
        waiting, self._nbytes = list(self._waiting), 0
        self._waiting.clear()
        return waiting

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
