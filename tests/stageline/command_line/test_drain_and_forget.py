"""`drain` and `forget`: devices that go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from schemas.deployment import HubStatus
from schemas.topics import (
    DEVICE_DUTY,
    DEVICE_INFO,
    DEVICE_PROFILE,
    DEVICE_STAGES,
    DEVICE_STATUS,
    DEVICE_TELEMETRY,
    HUB_STATUS,
)

if TYPE_CHECKING:
    from tests.stageline.command_line.conftest import Background, House


def test_a_device_that_nothing_uses_may_be_switched_off_at_once_and_comes_back(
    house: House, background: Background
) -> None:
    assert house.json("drain", "nano", "--reason", "dust")["drained"] is True
    [kept] = background.run(house.line.bus.snapshot(DEVICE_DUTY, device="nano"))
    assert (kept.message.duty, kept.message.reason) == ("drain", "dust")
    assert house.json("drain", "nano", "--undo") == {"device": "nano", "drained": False, "undone": True}
    assert background.run(house.line.bus.snapshot(DEVICE_DUTY)) == []
    assert "was not being drained" in house.invoke("drain", "nano", "--undo").stdout


def test_a_device_that_does_not_get_free_in_time_is_said_to_be_needed(served: House) -> None:
    result = served.invoke("drain", "pi4", "--timeout", 1)
    assert result.exit_code == 1
    assert "not within 1 s: pictures: waiting for a plan without pi4" in " ".join(result.stderr.split())


@pytest.mark.parametrize("command", ["drain", "forget"])
def test_a_device_that_nobody_has_heard_of_is_neither_drained_nor_forgotten(house: House, command: str) -> None:
    result = house.invoke(command, "pi5")
    assert result.exit_code == 2
    assert "devices there are: nano, pi4" in " ".join(result.stderr.split())


def test_without_a_planner_nothing_is_drained(house: House, background: Background) -> None:
    background.run(house.line.bus.publish(HUB_STATUS, HubStatus(online=False, boot_id="h1")))
    background.run(house.freeze())
    assert house.invoke("drain", "pi4").exit_code == 2
    assert background.run(house.line.bus.snapshot(DEVICE_DUTY)) == []


def test_a_device_that_is_gone_is_forgotten_and_whoever_still_names_it_is_told(
    served: House, background: Background
) -> None:
    served.json("exclude", "pictures", "nano")
    result = served.invoke("forget", "nano")
    assert result.exit_code == 0, result.output
    assert "stageline exclude pictures nano --undo" in result.stderr
    assert background.run(served.line.bus.snapshot(DEVICE_STAGES, device="nano")) == []
    assert {one["device"] for one in served.json("top")["devices"]} == {"pi4"}


def test_a_device_that_is_online_is_only_forgotten_by_force(house: House, background: Background) -> None:
    bus = house.line.bus
    result = house.invoke("forget", "pi4")
    assert result.exit_code == 2
    assert "its monitor and worker" in result.stderr
    cleared = house.json("forget", "pi4", "--force")["cleared"]
    assert {"device/pi4/info", "device/pi4/profile/doubler", "device/pi4/stages", "device/pi4/status"} <= set(cleared)
    for topic in (DEVICE_STATUS, DEVICE_INFO, DEVICE_TELEMETRY, DEVICE_STAGES, DEVICE_PROFILE):
        assert background.run(bus.snapshot(topic, device="pi4")) == []
