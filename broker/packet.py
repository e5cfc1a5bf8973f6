"""How PUBLISH and PUBACK look on the wire (MQTT 5, sections 3.3 and 3.4). Pure: bytes in, values out.

paho has this too, and takes five copies of a payload and about 60 microseconds for the properties of one message;
frames are too large for the one and too many for the other. Everything else of MQTT is left to paho.
"""

from __future__ import annotations

import struct
from typing import Final, Literal, NamedTuple

PUBLISH: Final = 0x30
PUBACK: Final = 0x40
MOST_PACKET_BYTES: Final = 268_435_455
"""The largest remaining length that MQTT can express."""

_U16: Final = struct.Struct(">H")
_U32: Final = struct.Struct(">I")

# Properties that a PUBLISH may carry; not topic aliases, which we do not offer.
_FORMAT, _EXPIRY, _CONTENT_TYPE, _RESPONSE, _CORRELATION, _SUBSCRIPTION, _USER = (
    0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x26,
)  # fmt: skip


class PacketError(ValueError):
    """Bytes that no broker should send."""


class Envelope(NamedTuple):
    """The MQTT 5 properties of a message on its way out. All but the expiry mirror what its payload says too."""

    content_type: str | None = None
    expiry_s: int | None = None
    correlation: bytes | None = None
    response_address: str | None = None
    traceparent: str | None = None


class Publish(NamedTuple):
    """A PUBLISH packet, taken apart; `payload` is a view of it."""

    address: str
    payload: memoryview
    qos: int
    retained: bool
    mid: int
    expiry_s: int | None
    """What is left of the life it was sent with."""
    subscriptions: tuple[int, ...]
    """Identifiers of the subscriptions that matched."""


def publish_head(
    address: str, payload_bytes: int, *, qos: Literal[0, 1], retain: bool, mid: int, envelope: Envelope
) -> bytearray:
    """Everything of a PUBLISH packet that comes before its payload.

    Raises:
        PacketError: a topic or a property that is too long for MQTT.
    """
    topic = address.encode()
    properties = _pack(envelope)
    body = bytearray(_short(topic))
    if qos:
        body += _U16.pack(mid)
    body += variable_length(len(properties))
    body += properties
    head = bytearray((PUBLISH | qos << 1 | retain,))
    head += variable_length(len(body) + payload_bytes)
    head += body
    return head


def read_publish(first: int, body: memoryview) -> Publish:
    """Take a PUBLISH packet apart without copying its payload.

    Args:
        first: the packet's first byte (type and flags).
        body: what follows the remaining length.

    Raises:
        PacketError: truncated or malformed.
    """
    try:
        qos = first >> 1 & 3
        position = 2 + _U16.unpack_from(body)[0]
        address = str(body[2:position], "utf-8")
        mid = 0
        if qos:
            mid = _U16.unpack_from(body, position)[0]
            position += 2
        length, position = read_variable_length(body, position)
        end = position + length
        if end > len(body):
            raise PacketError("the properties run past the end")
        expiry_s, subscriptions = _unpack(body, position, end)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise PacketError(f"malformed PUBLISH: {error}") from error
    return Publish(address, body[end:], qos, bool(first & 1), mid, expiry_s, subscriptions)


def read_puback(body: memoryview) -> tuple[int, int]:
    """Message id and reason code of a PUBACK.

    Raises:
        PacketError: truncated.
    """
    if len(body) < 2:
        raise PacketError("malformed PUBACK")
    return _U16.unpack_from(body)[0], body[2] if len(body) > 2 else 0


def variable_length(number: int) -> bytes:
    """MQTT's variable byte integer: 7 bits a byte, the lowest first."""
    if number < 128:
        return bytes((number,))
    if number > MOST_PACKET_BYTES:
        raise PacketError(f"{number} bytes is more than one MQTT packet can hold")
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_variable_length(data: memoryview, position: int) -> tuple[int, int]:
    """The integer at `position` and the position after it.

    Raises:
        IndexError: the data ends inside it.
        PacketError: longer than four bytes.
    """
    number = 0
    for shift in (0, 7, 14, 21):
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
    raise PacketError("a length of more than four bytes")


def _pack(envelope: Envelope) -> bytes:
    out = bytearray()
    if envelope.expiry_s is not None:
        out.append(_EXPIRY)
        out += _U32.pack(envelope.expiry_s)
    if envelope.content_type is not None:
        out.append(_CONTENT_TYPE)
        out += _short(envelope.content_type.encode())
    if envelope.response_address is not None:
        out.append(_RESPONSE)
        out += _short(envelope.response_address.encode())
    if envelope.correlation is not None:
        out.append(_CORRELATION)
        out += _short(envelope.correlation)
    if envelope.traceparent is not None:
        out.append(_USER)
        out += _short(b"traceparent") + _short(envelope.traceparent.encode())
    return bytes(out)


def _unpack(data: memoryview, position: int, end: int) -> tuple[int | None, tuple[int, ...]]:
    """Expiry and subscription identifiers among the properties in `data[position:end]`; the rest is skipped over."""
    expiry_s: int | None = None
    subscriptions: tuple[int, ...] = ()
    while position < end:
        kind = data[position]
        position += 1
        if kind == _SUBSCRIPTION:
            number, position = read_variable_length(data, position)
            subscriptions += (number,)
        elif kind == _EXPIRY:
            expiry_s = _U32.unpack_from(data, position)[0]
            position += 4
        elif kind in (_CONTENT_TYPE, _CORRELATION, _RESPONSE):
            position += 2 + _U16.unpack_from(data, position)[0]
        elif kind == _USER:
            position += 2 + _U16.unpack_from(data, position)[0]
            position += 2 + _U16.unpack_from(data, position)[0]
        elif kind == _FORMAT:
            position += 1
        else:
            raise PacketError(f"property {kind:#x} does not belong in this PUBLISH")
    if position != end:
        raise PacketError("a property runs past the end")
    return expiry_s, subscriptions


def _short(data: bytes) -> bytes:
    if len(data) > 0xFFFF:
        raise PacketError(f"{len(data)} bytes where MQTT allows 65535")
    return _U16.pack(len(data)) + data
