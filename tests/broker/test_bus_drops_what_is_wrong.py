"""The edge of the bus: what is malformed is counted, logged with its topic and dropped, and nothing else is lost."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from broker.bus import Bus
from broker.message import Outgoing
from broker.rejections import Rejections
from schemas.decoding import MOST_CONTROL_BYTES
from schemas.deployment import HubStatus
from schemas.device import DeviceStatus
from schemas.topics import ANSWER, DEVICE_STATUS, HUB_STATUS

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


async def test_what_is_far_too_long_is_kept_from_us_by_the_broker(here: Bus, there: Bus, root: str) -> None:
    """It knows how much we take; whoever subscribes later is spared it too, and everything else arrives."""
    for address in ("hub/status", "device/pi4/status"):
        huge = Outgoing(f"{root}/{address}", bytes(3 * MOST_CONTROL_BYTES), retain=True)
        await here._entered().publish(huge, timeout_s=20)
    async with there.subscribe(HUB_STATUS) as messages, there.subscribe(DEVICE_STATUS) as states:
        await here._entered().publish(huge, timeout_s=20)
        await here.publish(HUB_STATUS, UP)
        assert (await anext(messages)).message == UP
        good = DeviceStatus(device="pi5", boot_id="b", online=True)
        await here.publish(DEVICE_STATUS, good, device="pi5")
        assert (await anext(states)).message == good
    assert await there.snapshot(DEVICE_STATUS, device="pi4") == []
    assert not there.rejected


async def test_frames_without_acknowledgement_are_dropped(here: Bus, there: Bus, frame: Callable[[str], bytes]) -> None:
    """Nothing would hold a flood of them back, so nothing would bound what waits."""
    async with there.frames(ANSWER, submitter="s") as frames:
        for number in range(50):
            await here.publish_bytes("answer/s", frame(f"flood{number}"), qos=0)
        await here.publish_bytes("answer/s", frame("good"), qos=1)
        delivery = await anext(frames)
        assert delivery.frame.header.request == "good"
        delivery.ack()
    assert there.rejected == {"qos": 50}


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
