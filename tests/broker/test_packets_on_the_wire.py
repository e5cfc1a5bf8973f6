"""PUBLISH packets and how they are cut from a stream, against paho's own codec and against every way to cut."""

from __future__ import annotations

import contextlib
import random
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet as paho_packet
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker.packet import (
    MOST_PACKET_BYTES,
    Envelope,
    PacketError,
    publish_head,
    read_puback,
    read_publish,
    read_variable_length,
    variable_length,
)
from broker.reader import PacketReader

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
ENVELOPES = st.builds(
    Envelope,
    content_type=st.none() | TEXT,
    expiry_s=st.none() | st.integers(0, 2**32 - 1),
    correlation=st.none() | st.binary(max_size=70),
    response_address=st.none() | TEXT,
    traceparent=st.none() | TEXT,
)
PUBLISHES = st.tuples(TEXT, st.binary(max_size=300), st.sampled_from([0, 1]), st.booleans(), st.integers(1, 65535))


def body_of(packet: bytes) -> memoryview:
    view = memoryview(packet)
    length, start = read_variable_length(view, 1)
    assert len(view) - start == length
    return view[start:]


@given(PUBLISHES, ENVELOPES)
def test_a_publish_is_read_as_it_was_written(
    publish: tuple[str, bytes, Literal[0, 1], bool, int], envelope: Envelope
) -> None:
    address, payload, qos, retain, mid = publish
    head = publish_head(address, len(payload), qos=qos, retain=retain, mid=mid, envelope=envelope)
    packet = bytes(head) + payload
    seen = read_publish(packet[0], body_of(packet))
    assert (seen.address, bytes(seen.payload), seen.qos, seen.retained) == (address, payload, qos, retain)
    assert seen.mid == (mid if qos else 0)
    assert seen.expiry_s == envelope.expiry_s
    assert seen.subscriptions == ()


@given(PUBLISHES, ENVELOPES)
def test_paho_reads_the_same_from_a_publish(
    publish: tuple[str, bytes, Literal[0, 1], bool, int], envelope: Envelope
) -> None:
    address, payload, qos, retain, mid = publish
    head = publish_head(address, len(payload), qos=qos, retain=retain, mid=mid, envelope=envelope)
    packet = bytes(head) + payload
    theirs = paho_packet.decode_publish(packet[0], bytes(body_of(packet)), MQTTProtocolVersion.MQTTv5)
    assert (theirs.topic, theirs.payload, theirs.qos, theirs.retain) == (address.encode(), payload, qos, retain)
    properties = theirs.properties
    assert getattr(properties, "ContentType", None) == envelope.content_type
    assert getattr(properties, "MessageExpiryInterval", None) == envelope.expiry_s
    assert getattr(properties, "CorrelationData", None) == envelope.correlation
    assert getattr(properties, "ResponseTopic", None) == envelope.response_address
    trace = None if envelope.traceparent is None else [("traceparent", envelope.traceparent)]
    assert getattr(properties, "UserProperty", None) == trace


@given(st.lists(st.integers(1, MOST_PACKET_BYTES), max_size=5), st.none() | st.integers(0, 2**32 - 1))
def test_what_the_broker_adds_is_read_as_paho_wrote_it(identifiers: list[int], expiry_s: int | None) -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.PayloadFormatIndicator = 1
    properties.UserProperty = [("a", "b"), ("c", "d")]
    if identifiers:
        properties.SubscriptionIdentifier = identifiers
    if expiry_s is not None:
        properties.MessageExpiryInterval = expiry_s
    seen = read_publish(0x30, memoryview(b"\0\1t" + properties.pack() + b"payload"))  # type: ignore[no-untyped-call]
    assert (seen.expiry_s, seen.subscriptions) == (expiry_s, tuple(identifiers))
    assert (seen.address, bytes(seen.payload)) == ("t", b"payload")


@given(st.binary(max_size=60))
def test_garbage_is_an_error_and_nothing_else(body: bytes) -> None:
    with contextlib.suppress(PacketError):
        read_publish(0x32, memoryview(body))


@pytest.mark.parametrize("number", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, MOST_PACKET_BYTES])
def test_lengths_are_written_as_the_standard_says(number: int) -> None:
    written = variable_length(number)
    assert read_variable_length(memoryview(written), 0) == (number, len(written))
    assert len(written) == 1 + sum(number >= 128**power for power in (1, 2, 3))


def test_what_mqtt_cannot_express_is_refused() -> None:
    with pytest.raises(PacketError, match="268435456"):
        variable_length(MOST_PACKET_BYTES + 1)
    with pytest.raises(PacketError, match="65535"):
        publish_head("x" * 65_536, 0, qos=0, retain=False, mid=1, envelope=Envelope())
    with pytest.raises(PacketError, match="more than four"):
        read_variable_length(memoryview(b"\xff" * 5), 0)


def test_a_puback_without_a_reason_is_a_success() -> None:
    assert read_puback(memoryview(b"\x01\x02")) == (258, 0)
    assert read_puback(memoryview(b"\x01\x02\x87\x00")) == (258, 0x87)
    with pytest.raises(PacketError):
        read_puback(memoryview(b"\x01"))


@given(
    st.lists(st.sampled_from([0, 1, 5, 127, 128, 2000, 65_530, 65_531, 65_532, 65_536, 70_000, 200_000]), max_size=8),
    st.integers(0, 1000),
)
def test_however_a_stream_is_cut_its_packets_come_out_whole(sizes: list[int], seed: int) -> None:
    rng = random.Random(seed)
    packets = [(0x30 + index, bytes([index + 1]) * size) for index, size in enumerate(sizes)]
    stream = memoryview(b"".join(bytes((first,)) + variable_length(len(body)) + body for first, body in packets))
    reader, seen = PacketReader(1 << 20), []
    while stream:
        space = reader.space()
        assert len(space) > 0
        most = min(len(space), len(stream))
        count = rng.choice([1, min(3, most), (most + 1) // 2, most, most])
        space[:count] = stream[:count]
        stream = stream[count:]
        seen += [(first, bytes(body)) for first, body in reader.received(count)]
    assert seen == packets
    assert not reader.expects_more


def test_a_packet_larger_than_announced_is_refused_before_memory_is_taken_for_it() -> None:
    reader = PacketReader(1000)
    head = b"\x30" + variable_length(MOST_PACKET_BYTES)
    reader.space()[: len(head)] = head
    with pytest.raises(PacketError, match="announced"):
        list(reader.received(len(head)))
