"""One message on its way out, one on its way in, and the broker's word on it. Addresses are whole topics here.

Named tuples, because these are made for every frame and a frozen dataclass takes three times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from broker.packet import Envelope, Publish, publish_head

if TYPE_CHECKING:
    from broker.connection import Connection

NO_SUBSCRIBER: Final = 0x10
"""PUBACK reason: accepted, and nobody is subscribed there."""
FIRST_FAILURE: Final = 0x80
"""MQTT 5 reason codes from here on are refusals."""

_BARE: Final = Envelope()


class Outgoing(NamedTuple):
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


class Incoming(NamedTuple):
    """A message as it came, and the connection that wants its acknowledgement."""

    packet: Publish
    received_at: float
    """`time.monotonic()`, s."""
    connection: Connection

    def ack(self) -> None:
        """Tell the broker that this is dealt with; nothing happens when the connection has gone, or with QoS 0."""
        if self.packet.qos:
            self.connection.ack(self.packet.mid)


class Accepted(NamedTuple):
    """The broker's PUBACK: its reason code (0 or `NO_SUBSCRIBER`), and how long it took to come, s."""

    reason: int
    seconds: float
