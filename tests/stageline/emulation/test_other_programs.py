"""Other programs on an emulated device compute under its limit, and go when they are told to or the device does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stageline.emulation.device import EmulatedDevice

NOBODY = "mqtt://127.0.0.1:9"


def others() -> list[psutil.Process]:
    """Our children that do nothing but compute."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if child.cmdline()[-1:] == ["while True: pass"]:
                found.append(child)
        except psutil.Error:
            continue
    return found


def until(true: object, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[EmulatedDevice]:
    one = EmulatedDevice("busy", 0.2, folder=tmp_path / "busy", broker=NOBODY)
    one.start()
    yield one
    one.stop()


def test_other_programs_compute_until_they_are_told_to_stop(device: EmulatedDevice) -> None:
    device.burden(2)
    until(lambda: len(others()) == 2)
    until(lambda: all(sum(one.cpu_times()[:2]) > 0 for one in others()))
    device.burden(1)
    until(lambda: len(others()) == 1)
    device.burden(0)
    assert others() == []


def test_other_programs_end_with_the_device(device: EmulatedDevice) -> None:
    device.burden(1)
    until(lambda: len(others()) == 1)
    device.stop()
    assert others() == []


def test_nothing_runs_on_a_device_that_is_not_started(tmp_path: Path) -> None:
    device = EmulatedDevice("off", 0.2, folder=tmp_path, broker=NOBODY)
    device.burden(0)
    with pytest.raises(RuntimeError, match="off is not started"):
        device.burden(1)
