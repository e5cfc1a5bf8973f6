"""One message on its way out, one on its way in, and the broker's word on it. Addresses are whole topics here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from broker.packet import Envelope, publish_head

if TYPE_CHECKING:
    from broker.connection import Connection

NO_SUBSCRIBER: Final = 0x10
"""PUBACK reason: accepted, and nobody is subscribed there."""
FIRST_FAILURE: Final = 0x80
"""MQTT 5 reason codes from here on are refusals."""

_BARE: Final = Envelope()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish."""

    address: str
    payload: bytes
    qos: Literal[0, 1] = 1
    retain: bool = False
    envelope: Envelope = _BARE

    def head(self, mid: int) -> bytearray:
        """The packet up to the payload."""
        return publish_head(
            self.address, len(self.payload), qos=self.qos, retain=self.retain, mid=mid, envelope=self.envelope
        )


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it came, and the connection that wants its acknowledgement."""

    address: str
    payload: memoryview
    qos: int
    retained: bool
    mid: int
    envelope: Envelope
    received_at: float
    """`time.monotonic()`, s."""
    connection: Connection

    def ack(self) -> None:
        """Tell the broker that this is dealt with; nothing happens when the connection has gone, or with QoS 0."""
        if self.qos:
            self.connection.ack(self.mid)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The broker's PUBACK: its reason code (0 or `NO_SUBSCRIBER`), and how long it took to come, s."""

    reason: int
    seconds: float
