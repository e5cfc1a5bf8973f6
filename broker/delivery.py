"""What a subscriber gets: a checked message, and where it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Self, TypeVar

from broker.inbox import Inbox
from broker.message import Incoming
from schemas.frame import Frame
from schemas.topics import Topic

M = TypeVar("M")
D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Will(Generic[M]):
    """What the broker publishes for us when we vanish without a word."""

    topic: Topic[M]
    message: M
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Delivery(Generic[M]):
    """A message, the parameters in its address, and whether it is state from before the subscription."""

    message: M
    parameters: dict[str, str]
    retained: bool
    address: str
    """Below the root."""


@dataclass(frozen=True, slots=True)
class Change(Generic[M]):
    """What a retained topic holds now; `message` is None when it was cleared."""

    message: M | None
    parameters: dict[str, str]
    retained: bool
    address: str
    """Below the root."""


@dataclass(frozen=True, slots=True)
class RawDelivery:
    """Bytes as they came."""

    address: str
    """Below the root."""
    payload: memoryview
    retained: bool
    received_at: float
    """`time.monotonic()`, s."""


@dataclass(frozen=True, slots=True)
class FrameDelivery:
    """A frame and its envelope. The broker holds further frames back until enough are acknowledged."""

    frame: Frame
    parameters: dict[str, str]
    expiry_s: int | None
    """What is left of its life as the broker counts it."""
    received_at: float
    """`time.monotonic()`, s."""
    _ack: Callable[[], None] = field(repr=False)

    def ack(self) -> None:
        """This frame is dealt with; acknowledging twice does nothing."""
        self._ack()


class Stream(Generic[D]):
    """Iterates over an inbox. A cancelled `anext` loses nothing and ends nothing."""

    def __init__(self, inbox: Inbox, read: Callable[[Incoming], D | None]) -> None:
        self._inbox = inbox
        self._read = read

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> D:
        while True:
            delivery = self._read(await self._inbox.get())
            if delivery is not None:
                return delivery
