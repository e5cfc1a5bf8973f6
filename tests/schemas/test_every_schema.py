"""Of every topic: what is valid comes back as it was, and whatever else comes is refused shortly, in bounded memory."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.made_up import messages, payloads, spoilt
from fuzz.targets import decode
from schemas import topics
from schemas.base import NonNegative
from schemas.decoding import MOST_CONTROL_BYTES, MOST_VALUES
from schemas.frame import Frame
from schemas.topics import BadMessageError, Topic

HERE = Path(__file__).parents[2]
SPOKEN = [topic for topic in topics.ALL if topic.payload is not Frame]
READABLE = [topic for topic in SPOKEN if topic.encoding == "json"]


def of(chosen: list[Topic[Any]]) -> Any:
    return pytest.mark.parametrize("topic", chosen, ids=lambda topic: topic.template)


@of(SPOKEN)
@settings(max_examples=8)
@given(data=st.data())
def test_every_valid_message_comes_back_as_it_was(topic: Topic[Any], data: st.DataObject) -> None:
    message = data.draw(messages(topic))
    assert topic.decode(topic.encode(message)) == message


@of(READABLE)
@settings(max_examples=20)
@given(data=st.data())
def test_a_message_with_something_spoilt_is_valid_or_refused(topic: Topic[Any], data: st.DataObject) -> None:
    decode(topic, data.draw(spoilt(topic)))


@of(list(topics.ALL))
@settings(max_examples=12)
@given(data=st.data())
def test_damaged_and_arbitrary_bytes_are_a_message_or_refused(topic: Topic[Any], data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.one_of(payloads(topic), st.binary(max_size=300))))
    for _ in range(data.draw(st.integers(0, 3)) if whole else 0):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    decode(topic, bytes(whole[: data.draw(st.integers(0, len(whole)))]))


@pytest.mark.parametrize(
    "written",
    ["NaN", "Infinity", "-Infinity", "1e999", "1e19", "-1", "null", '"1"', "true", "[1]", "9" * 5000, "[" * 3000],
)
def test_a_number_that_is_none_or_beyond_reason_is_refused(written: str) -> None:
    with pytest.raises(BadMessageError) as caught:
        topics.DEVICE_TIMING.decode(
            f'{{"device": "pi4", "boot_id": "b", "period_s": {written}, "queue_depth": 0}}'.encode()
        )
    assert caught.value.reason == "malformed"


def test_sums_and_products_of_the_largest_numbers_are_finite() -> None:
    (most,) = (one.le for one in NonNegative.__metadata__[0].metadata if hasattr(one, "le"))
    assert math.isfinite(most**3 * 1e6)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"online": true, "boot_id": "a", "boot_id": "b"}',
        b'{"online": true, "online": [[[[{}]]]], "online": true, "boot_id": "b"}',
    ],
)
def test_a_message_that_says_something_twice_is_refused(payload: bytes) -> None:
    with pytest.raises(BadMessageError, match="twice"):
        topics.HUB_STATUS.decode(payload)


def test_a_blob_chunk_that_says_something_twice_is_refused() -> None:
    said = msgpack.packb({"offset": 0, "total": 3, "data": b"abc"})
    with pytest.raises(BadMessageError, match="twice"):
        topics.BLOB_CHUNK.decode(b"\x84" + said[1:] + msgpack.packb("offset") + b"\x01")


@pytest.mark.parametrize(
    "tail", [b"x", msgpack.packb("more"), b"\xc1"], ids=["bytes", "another value", "what msgpack has no use for"]
)
def test_what_follows_a_blob_chunk_is_refused(tail: bytes) -> None:
    with pytest.raises(BadMessageError, match="after the message"):
        topics.BLOB_CHUNK.decode(msgpack.packb({"offset": 0, "total": 3, "data": b"abc"}) + tail)


@of(SPOKEN)
def test_what_is_longer_than_its_topic_carries_is_refused_unread(topic: Topic[Any]) -> None:
    with pytest.raises(BadMessageError) as caught:
        topic.decode(bytes(topic.most_bytes + 1))
    assert caught.value.reason == "oversized"
    assert topic.most_bytes <= MOST_CONTROL_BYTES


def test_a_refusal_is_short_whatever_was_sent() -> None:
    for name in ("x" * 60_000, "\n" * 50_000):
        with pytest.raises(BadMessageError) as caught:
            topics.HUB_STATUS.decode(json.dumps({"online": True, "boot_id": "b", name: 1}).encode())
        assert len(str(caught.value)) <= 300


def test_no_payload_takes_more_memory_than_a_small_computer_has_to_spare() -> None:
    """Resident memory of a process that is handed the worst payloads we can think of, as long as each topic allows."""
    command = [sys.executable, "-m", "fuzz.bombs"]
    ran = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False, timeout=110)
    assert ran.returncode == 0, ran.stderr
    bombs, grown_mb = map(int, ran.stdout.split())
    assert bombs > 300
    assert grown_mb <= 96, f"{grown_mb} MB; the worst:\n{ran.stderr}"


def test_a_text_of_too_many_values_is_refused_unread() -> None:
    with pytest.raises(BadMessageError) as caught:
        topics.MODEL_CARD.decode(b"[" + b"0," * (MOST_VALUES + 1) + b"0]")
    assert caught.value.reason == "oversized"
