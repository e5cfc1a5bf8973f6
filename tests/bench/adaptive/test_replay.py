"""A trace is carried out in order and at its times, and leaves the fleet as its file says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bench.adaptive.contenders import CONTENDERS
from bench.adaptive.loads import LOADS
from bench.adaptive.replay import AS_FAST_AS_IT_GOES, apply, kinds_of, replay
from bench.adaptive.trace import Change, make_trace
from services.planner.policies import find_policy
from services.planner.settings import PlannerSettings
from services.settings import load
from stageline.emulation.fleet_file import FleetFile, FleetLink

FLEET = FleetFile.model_validate({
    "name": "two", "scale": 0.5,
    "device": [{"name": "a", "cores": 1.0, "link": {"up_mbps": 100, "down_mbps": 50}}, {"name": "b", "cores": 0.4}],
})  # fmt: skip


class FakeBed:
    """Remembers what was done to it."""

    fleet = FLEET
    links: object | None = object()

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []

    def device(self, name: str) -> FakeDevice:
        return FakeDevice(self, name)

    def set_cores(self, name: str, cores_here: float) -> None:
        self.done.append((name, "cores", pytest.approx(cores_here)))

    def set_link(self, name: str, link: FleetLink) -> bool:
        self.done.append((name, "link", link))
        return True


class FakeDevice:
    def __init__(self, bed: FakeBed, name: str) -> None:
        self.bed = bed
        self.name = name

    def burden(self, programs: int) -> None:
        self.bed.done.append((self.name, "load", programs))


def test_each_kind_is_done_and_undone_as_the_fleet_file_says() -> None:
    bed = FakeBed()
    for what, device, value in (("load", "a", 2.0), ("cores", "a", 0.25), ("link", "a", 5.0), ("link", "b", 5.0)):
        for now in (value, None):
            apply(bed, Change(0.0, device, what, now))  # type: ignore[arg-type]
    slow = FleetLink(up_mbps=5, down_mbps=5)
    assert bed.done == [
        ("a", "load", 2), ("a", "load", 0), ("a", "cores", 0.125), ("a", "cores", 0.5),
        ("a", "link", slow), ("a", "link", FLEET.devices[0].link),
        ("b", "link", slow), ("b", "link", AS_FAST_AS_IT_GOES),
    ]  # fmt: skip


async def test_changes_are_made_in_order_at_their_times() -> None:
    bed, told = FakeBed(), []
    trace = make_trace(["a", "b"], 0.6, 0)
    clock = asyncio.get_running_loop().time
    begin_s = clock()
    await replay(bed, trace, begin_s, lambda change: told.append((change, clock() - begin_s)))
    assert [change for change, _ in told] == list(trace)
    assert all(at_s >= change.at_s - 0.01 for change, at_s in told)
    assert len(bed.done) == len(trace)


def test_links_change_only_where_they_are_emulated() -> None:
    bed = FakeBed()
    assert "link" in kinds_of(bed)
    bed.links = None
    assert kinds_of(bed) == ("load", "cores")


def test_every_contender_wishes_for_something_and_its_planner_is_told_whether_to_adapt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for contender in CONTENDERS:
        for name, value in contender.planner_environment.items():
            monkeypatch.setenv(name, value)
        assert load(PlannerSettings).adapt is contender.adapt
        for name in LOADS:
            find_policy(contender.wish(name).policy)
    assert [one.name for one in CONTENDERS if one.adapt] == ["adaptive"]
