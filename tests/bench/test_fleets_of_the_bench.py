"""The fleets that are measured: readable, and small enough for the two cores that everything is measured on."""

from __future__ import annotations

from pathlib import Path

import pytest

from stageline.emulation.fleet_file import load_fleet

FLEETS = sorted((Path(__file__).parents[2] / "bench" / "fleets").glob("*.toml"))


def test_there_is_a_fleet_for_each_question() -> None:
    assert {load_fleet(path).name for path in FLEETS} == {
        "h+m", "h+m+l", "h+h+m+l", "4 pi + jetson", "weak link", "eight unequal", "small memory", "learning",
    }  # fmt: skip


@pytest.mark.parametrize("path", FLEETS, ids=lambda path: path.stem)
def test_it_leaves_air_on_two_cores(path: Path) -> None:
    fleet = load_fleet(path)
    assert fleet.total_cores <= 1.1 + 1e-9
    assert fleet.about
    assert all(device.link and device.power and device.memory_mb for device in fleet.devices)
