"""Topics: addresses and payloads of the whole bus, and what is refused at its edge."""

import json
from pathlib import Path

import msgpack
import pytest

from schemas import asyncapi, topics
from schemas.base import InvalidNameError
from schemas.device import DeviceStatus
from schemas.model import BlobChunk
from schemas.topics import BadMessageError

STATUS = DeviceStatus(device="pi4", boot_id="b1", online=True)


def test_an_address_parses_back_to_its_parameters() -> None:
    for topic in topics.ALL:
        parameters = {name: f"{name}-1" for name in topic.parameters}
        address = topic.address(**parameters)
        assert topic.parse(address) == parameters
        assert not address.startswith("/")
        assert " " not in address
        assert [other for other in topics.ALL if other.parse(address) is not None] == [topic]


def test_a_filter_leaves_open_what_is_not_given() -> None:
    assert topics.STAGE.filter(device="pi4") == "stage/+/+/pi4/+"
    assert topics.DEVICE_STATUS.filter() == "device/+/status"


@pytest.mark.parametrize("name", ["", "a/b", "a+b", "#", "a b", "ä", "x" * 65, "-a", "a.b", "a\n"])
def test_a_name_with_illegal_characters_is_refused_and_says_what_is_legal(name: str) -> None:
    with pytest.raises(InvalidNameError, match="letters, digits"):
        topics.DEVICE_STATUS.address(device=name)


def test_state_is_retained_and_flow_is_not() -> None:
    flow = {topics.DEVICE_TIMING, topics.DEVICE_COMMAND, topics.DEVICE_CLAIM, topics.STAGE, topics.ANSWER, topics.SEEN,
            topics.BLOB_REQUEST, topics.BLOB_CHUNK}  # fmt: skip
    assert {topic for topic in topics.ALL if not topic.retained} == flow


def test_control_messages_are_json_that_a_person_can_read() -> None:
    payload = topics.DEVICE_STATUS.encode(STATUS)
    assert json.loads(payload)["device"] == "pi4"
    assert topics.DEVICE_STATUS.decode(payload) == STATUS


def test_blobs_travel_as_msgpack() -> None:
    chunk = BlobChunk(offset=0, total=3, data=b"\x00\xff\x80")
    assert topics.BLOB_CHUNK.decode(topics.BLOB_CHUNK.encode(chunk)) == chunk


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"device":"pi4"}',
        b'{"device":"pi4","boot_id":"b","online":"yes"}',
        b'{"device":"pi4","boot_id":"b","online":true,"more":1}',
        b'{"device":"a/b","boot_id":"b","online":true}',
        b"[" * 30_000,
    ],
)
def test_a_malformed_control_message_is_one_kind_of_error(payload: bytes) -> None:
    with pytest.raises(BadMessageError) as caught:
        topics.DEVICE_STATUS.decode(payload)
    assert caught.value.reason == "malformed"


def test_an_oversized_control_message_is_refused_before_parsing() -> None:
    with pytest.raises(BadMessageError) as caught:
        topics.DEVICE_STATUS.decode(b" " * (topics.DEVICE_STATUS.most_bytes + 1))
    assert caught.value.reason == "oversized"


@pytest.mark.parametrize(
    "raw", [b"\x81\xa1a", msgpack.packb({"offset": 0}), msgpack.packb([1]), b"\xdf\xff\xff\xff\xff", b"\xc7\x01\x01x"]
)
def test_a_malformed_msgpack_message_is_one_kind_of_error(raw: bytes) -> None:
    with pytest.raises(BadMessageError):
        topics.BLOB_CHUNK.decode(raw)


def test_the_asyncapi_document_is_fresh() -> None:
    kept = Path(__file__).parents[2] / "docs" / "asyncapi.json"
    assert kept.read_text(encoding="utf-8") == asyncapi.render(), "run: python -m schemas.asyncapi"


def test_the_asyncapi_document_has_every_topic() -> None:
    addresses = {channel["address"] for channel in asyncapi.document()["channels"].values()}
    assert addresses == {f"{topics.ROOT}/{topic.template}" for topic in topics.ALL}
