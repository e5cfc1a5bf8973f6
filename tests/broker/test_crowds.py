"""State is followed from so many addresses and in so many bytes, whoever invents names; what is cleared makes room."""

from __future__ import annotations

import logging

import pytest

from broker import bus as bus_module
from broker.bus import Bus
from broker.crowd import Crowd
from broker.message import Outgoing
from schemas.device import DeviceStatus
from schemas.topics import DEVICE_STATUS

pytestmark = pytest.mark.timeout(30)


def status(name: str, reason: str = "") -> DeviceStatus:
    return DeviceStatus(device=name, boot_id="b", online=True, reason=reason)


def test_a_crowd_is_bounded_by_addresses() -> None:
    crowd = Crowd(most_addresses=2)
    assert crowd.admits("a", 10)
    assert crowd.admits("b", 10)
    assert not crowd.admits("c", 10)
    assert crowd.admits("a", 99), "who is there may go on"
    assert crowd.admits("b", 0), "its clearing is news"
    assert crowd.admits("c", 10), "and makes room"


def test_a_crowd_is_bounded_by_bytes() -> None:
    crowd = Crowd(most_bytes=100)
    assert crowd.admits("a", 60)
    assert not crowd.admits("b", 41)
    assert crowd.admits("b", 40)
    assert not crowd.admits("a", 61)
    assert crowd.admits("a", 20)
    assert crowd.admits("c", 40)


def test_that_nothing_is_where_nothing_was_is_no_news() -> None:
    crowd = Crowd()
    assert not crowd.admits("a", 0)
    assert crowd.admits("a", 1)


async def test_a_watcher_follows_so_many_devices_and_counts_the_rest(
    here: Bus, there: Bus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bus_module, "Crowd", lambda: Crowd(most_addresses=3))
    async with there.watch(DEVICE_STATUS) as changes:
        with caplog.at_level(logging.WARNING):
            for number in range(6):
                await here.publish(DEVICE_STATUS, status(f"d{number}"), device=f"d{number}")
            await here.clear(DEVICE_STATUS, device="d5")
            await here.clear(DEVICE_STATUS, device="d0")
            await here.publish(DEVICE_STATUS, status("d6"), device="d6")
            seen = [(await anext(changes)).parameters["device"] for _ in range(5)]
    assert seen == ["d0", "d1", "d2", "d0", "d6"]
    assert there.rejected == {"crowded": 3}
    assert "stageline forget" in caplog.text
    assert len(await there.snapshot(DEVICE_STATUS)) == 3


async def test_one_topic_alone_is_no_crowd(here: Bus, there: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "Crowd", lambda: Crowd(most_addresses=0))
    async with there.watch(DEVICE_STATUS, device="pi4") as changes:
        await here.publish(DEVICE_STATUS, status("pi4"), device="pi4")
        assert (await anext(changes)).message == status("pi4")


async def test_what_was_said_can_be_said_again(here: Bus, there: Bus) -> None:
    assert here.said(DEVICE_STATUS, device="pi4") is None
    await here.say_again(DEVICE_STATUS, device="pi4")
    await here.publish(DEVICE_STATUS, status("pi4"), device="pi4")
    assert here.said(DEVICE_STATUS, device="pi4") == DEVICE_STATUS.encode(status("pi4"))
    garbage = Outgoing(there.full_address(DEVICE_STATUS, device="pi4"), b"garbage", retain=True)
    await there._entered().publish(garbage, timeout_s=5)
    assert await there.snapshot(DEVICE_STATUS) == []
    await here.say_again(DEVICE_STATUS, device="pi4")
    assert [kept.message for kept in await there.snapshot(DEVICE_STATUS)] == [status("pi4")]
    await here.clear(DEVICE_STATUS, device="pi4")
    assert here.said(DEVICE_STATUS, device="pi4") is None
