"""The edge of the bus: what is malformed is counted, logged with its topic and dropped, and nothing else is lost."""

from __future__ import annotations

import logging

import pytest

from broker.bus import Bus
from broker.rejections import Rejections
from schemas.decoding import MOST_CONTROL_BYTES
from schemas.deployment import HubStatus
from schemas.device import DeviceStatus
from schemas.topics import DEVICE_STATUS, HUB_STATUS

pytestmark = pytest.mark.timeout(30)
UP = HubStatus(online=True, boot_id="x")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\xff\xfe", "malformed"),
        (b"{", "malformed"),
        (b'{"online": "yes", "boot_id": "x"}', "malformed"),
        (b'{"online": true, "boot_id": "x", "extra": 1}', "malformed"),
        (b"[" * 30_000, "malformed"),
        (b" " * (MOST_CONTROL_BYTES + 1), "oversized"),
    ],
)
async def test_a_malformed_message_is_dropped_and_counted_and_the_next_one_arrives(
    here: Bus, there: Bus, caplog: pytest.LogCaptureFixture, payload: bytes, reason: str
) -> None:
    async with there.subscribe(HUB_STATUS) as messages:
        with caplog.at_level(logging.WARNING):
            await here.publish_bytes("hub/status", payload)
            await here.publish(HUB_STATUS, UP)
            assert (await anext(messages)).message == UP
    assert there.rejected == {reason: 1}
    assert "hub/status" in caplog.text


async def test_a_message_that_says_it_is_of_another_device_is_dropped(here: Bus, there: Bus) -> None:
    async with there.subscribe(DEVICE_STATUS) as messages:
        forged = DeviceStatus(device="pi4", boot_id="b", online=False)
        await here.publish_bytes("device/pi5/status", forged.model_dump_json().encode())
        await here.publish(DEVICE_STATUS, forged, device="pi4")
        assert (await anext(messages)).parameters == {"device": "pi4"}
    assert there.rejected == {"address": 1}


async def test_an_address_with_an_illegal_name_is_dropped(here: Bus, there: Bus) -> None:
    good = DeviceStatus(device="pi4", boot_id="b", online=True)
    async with there.watch(DEVICE_STATUS) as changes:
        for name in ("p i", "-pi", "x" * 65, "pi.local"):
            await here.publish_bytes(f"device/{name}/status", b"")
        await here.publish(DEVICE_STATUS, good, device="pi4")
        assert (await anext(changes)).message == good
    assert there.rejected == {"address": 4}


def test_a_flood_of_bad_messages_is_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    rejections = Rejections()
    for number in range(1000):
        rejections.add("malformed", f"device/{number}/status", "bad")
    rejections.add("oversized", "hub/status", "long")
    assert rejections.counts == {"malformed": 1000, "oversized": 1}
    assert len(caplog.records) == 2


def test_what_is_logged_of_a_bad_message_is_short_whatever_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    rejections = Rejections(logging.getLogger("test"), "refused")
    rejections.add("malformed", "a" * 65_000, "b" * 65_000)
    (record,) = caplog.records
    assert record.name == "test"
    assert record.getMessage().startswith("refused aaa")
    assert len(record.getMessage()) < 700


def test_a_bug_is_an_error_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    rejections = Rejections()
    for _ in range(3):
        rejections.add("bug ValueError", "here", "overflow", bug=ValueError("overflow"))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
