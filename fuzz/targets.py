"""What is thrown bytes at. A target returns quietly when they were decoded or refused; anything else is a finding.

Each promise is checked where it is cheap: a refusal is short and has a known reason, and what was decoded says the same
once it is encoded again.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from broker.packet import PUBACK, PUBLISH, PacketError, read_puback, read_publish
from broker.reader import PacketReader
from broker.wire import Wire
from schemas import topics
from schemas.frame import Frame, FrameError, FrameLimits, open_frame
from schemas.topics import BadMessageError, Topic

REASONS: Final = frozenset({"malformed", "oversized", "truncated"})
MOST_TOLD: Final = 300
"""Characters of a refusal."""
_LIMITS: Final = FrameLimits(frame_bytes=1 << 20, decoded_bytes=1 << 22)
"""Small, so that a fuzzer finds the limits."""
_MOST_DECODED_BYTES: Final = 16 << 20
_MOST_PACKET_BYTES: Final = 1 << 18
_MOST_SENT_BYTES: Final = 1 << 16
"""Fits into a socket's buffer, so that nobody has to read meanwhile."""


class BrokenPromiseError(AssertionError):
    """A decoder did something else than to decode or to refuse."""


def topic_payload(data: bytes) -> None:
    """The first line says which topic, by its template; the rest is its payload."""
    decode(*split(data))


def split(data: bytes) -> tuple[Topic[Any], bytes]:
    """Topic and payload; any line is some topic."""
    line, _, payload = data.partition(b"\n")
    known = {topic.template.encode(): topic for topic in topics.ALL}
    return known.get(line) or topics.ALL[len(line) % len(topics.ALL)], payload


def decode(topic: Topic[Any], payload: bytes) -> Any | None:
    """The message, or None where it was refused as promised.

    Raises:
        BrokenPromiseError: it was refused without a short reason, or does not survive being encoded again.
    """
    try:
        message = topic.decode(payload)
    except BadMessageError as error:
        _check_refusal(error.reason, str(error))
        return None
    if isinstance(message, Frame):
        _tensors(message)
    elif topic.decode(topic.encode(message)) != message:
        raise BrokenPromiseError(f"{topic.template}: {message!r} changes when it is encoded")
    return message


def frame(data: bytes) -> None:
    """One frame, under small limits."""
    try:
        opened = open_frame(data, _LIMITS)
    except FrameError as error:
        _check_refusal(error.reason, str(error))
        return
    decoded = _tensors(opened)
    if decoded > _LIMITS.decoded_bytes:
        raise BrokenPromiseError(f"{decoded} bytes came out where {_LIMITS.decoded_bytes} are the limit")


def packets(data: bytes) -> None:
    """A stream as a broker might send it: the first byte says how it is cut, the rest is the stream."""
    reader = PacketReader(_MOST_PACKET_BYTES)
    rest = memoryview(data)[1:]
    piece = 1 + data[0] if data else 1
    try:
        while rest:
            space = reader.space()
            count = min(piece, len(space), len(rest))
            space[:count] = rest[:count]
            rest = rest[count:]
            for first, body in reader.received(count):
                if first & 0xF0 == PUBLISH:
                    read_publish(first, body)
                elif first & 0xF0 == PUBACK:
                    read_puback(body)
    except PacketError as error:
        _check_refusal("malformed", str(error))


def wire(data: bytes) -> None:
    """The same on a real socket, with paho for whatever is no PUBLISH or PUBACK: in the end the connection is lost."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(data[:_MOST_SENT_BYTES])
        theirs.shutdown(socket.SHUT_WR)
        client = Wire.inside(
            paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5),
            ours,
            most_bytes=_MOST_PACKET_BYTES,
            got_publish=lambda _packet: None,
            got_puback=lambda _mid, _reason: None,
        )
        client._sock = ours
        for _ in range(_MOST_SENT_BYTES):
            if client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS or not client.is_open:
                return
    raise BrokenPromiseError("a connection that was closed is read on and on")


def _tensors(opened: Frame) -> int:
    """Decodes all that is not huge; the bytes that they take."""
    if sum(header.decoded_bytes for header in opened.header.tensors) > _MOST_DECODED_BYTES:
        return 0
    try:
        arrays = opened.arrays()
    except FrameError as error:
        if error.reason != "tensor":
            raise BrokenPromiseError(f"an unknown reason: {error.reason}") from error
        _check_refusal("malformed", str(error))
        return 0
    for header in opened.header.tensors:
        if arrays[header.name].nbytes != header.decoded_bytes:
            raise BrokenPromiseError(f"{header.name} was to be {header.decoded_bytes} bytes")
    return sum(array.nbytes for array in arrays.values())


def _check_refusal(reason: str, detail: str) -> None:
    if reason not in REASONS:
        raise BrokenPromiseError(f"an unknown reason: {reason}")
    if not detail or len(detail) > MOST_TOLD:
        raise BrokenPromiseError(f"refused in {len(detail)} characters")


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "topics": topic_payload,
    "frame": frame,
    "packets": packets,
    "wire": wire,
}
