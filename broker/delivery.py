"""What a subscriber gets: a checked message and where it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

from broker.connection import Incoming
from schemas.frame import Frame
from schemas.topics import Topic

M = TypeVar("M")


@dataclass(frozen=True)
class Will(Generic[M]):
    """What the broker publishes for us when we vanish."""

    topic: Topic[M]
    message: M
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Delivery(Generic[M]):
    """A message, the parameters of its address, and whether it is state from before the subscription."""

    message: M
    parameters: dict[str, str]
    retained: bool
    address: str
    """Below the root."""


@dataclass(frozen=True, slots=True)
class RawDelivery:
    """Bytes as they came."""

    address: str
    payload: bytes
    retained: bool
    received_at: float
    """`time.monotonic()`, s."""


@dataclass(frozen=True, slots=True)
class FrameDelivery:
    """A frame and its envelope. The broker holds further frames back until `ack`."""

    frame: Frame
    parameters: dict[str, str]
    expiry_s: int | None
    """What is left of the message's life as the broker counts it."""
    received_at: float
    """`time.monotonic()`, s."""
    _ack: Callable[[], None] = field(repr=False)

    @classmethod
    def of(cls, delivery: Delivery[Frame], incoming: Incoming) -> Self:
        """A frame with what its packet said about it."""
        expiry: Any = getattr(incoming.properties, "MessageExpiryInterval", None)

        def ack() -> None:
            incoming.connection.ack(incoming.mid)

        return cls(delivery.message, delivery.parameters, expiry, incoming.received_at, ack)

    def ack(self) -> None:
        """This frame is dealt with."""
        self._ack()
