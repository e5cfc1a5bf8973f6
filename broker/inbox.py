"""Where one subscriber's messages wait for it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import numpy as np

from broker.message import Incoming
from broker.rejections import Rejections

MOST_MESSAGES: Final = 10_000
MOST_BYTES: Final = 64 << 20
AT_A_STRETCH: Final = 32
"""Messages that a reader gets before everybody else on the event loop has had a turn, signs of life among them."""


class Inbox:
    """First in, first out, one reader, safe to cancel. When full, the oldest message is dropped and counted.

    A subscriber that keeps up never gets near the bound; one that is stuck must not eat a Pi's memory, and what it
    will want when it is back is the newest. Frames pass `bounded=False`: Receive Maximum is their bound.
    """

    def __init__(self, pattern: str, rejections: Rejections, *, bounded: bool) -> None:
        self.pattern = pattern
        self._rejections = rejections
        self._bounded = bounded
        self._waiting: deque[Incoming] = deque()
        self._nbytes = 0
        self._failure: BaseException | None = None
        self._reader: asyncio.Future[None] | None = None
        self._stretch = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Incoming) -> None:
        """Add a message and wake the reader."""
        self._waiting.append(message)
        self._nbytes += _kept_bytes(message)
        while self._bounded and (len(self._waiting) > MOST_MESSAGES or (self._nbytes > MOST_BYTES and len(self) > 1)):
            oldest = self._waiting.popleft()
            self._nbytes -= _kept_bytes(oldest)
            self._rejections.add("overflow", oldest.packet.address, f"the reader of {self.pattern} is too slow")
        self._wake()

    def fail(self, failure: BaseException) -> None:
        """Make `get` raise this, once what waits has been read."""
        self._failure = failure
        self._wake()

    async def get(self) -> Incoming:
        """The next message; raises what `fail` was given."""
        if self._stretch >= AT_A_STRETCH:
            self._stretch = 0
            await asyncio.sleep(0)
        while not self._waiting:
            self._stretch = 0
            if self._failure is not None:
                raise self._failure
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        message = self._waiting.popleft()
        self._nbytes -= _kept_bytes(message)
        self._stretch += 1
        return message

    def drain(self) -> list[Incoming]:
        """Take everything that waits."""
        waiting, self._nbytes = list(self._waiting), 0
        self._waiting.clear()
        return waiting

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


def _kept_bytes(message: Incoming) -> int:
    """The memory behind a payload: it may be part of a larger piece that was received at once."""
    payload = message.packet.payload
    return payload.obj.nbytes if isinstance(payload.obj, np.ndarray) else len(payload)
