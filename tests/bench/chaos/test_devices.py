"""Workers die, hang, starve; cables are pulled, links become slow; two devices of three go at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(1800)

NAMES = (
    "worker-killed-in-pipeline",
    "worker-killed-among-replicas",
    "worker-hangs",
    "network-cut",
    "link-slow",
    "two-lost-third-serves",
    "two-lost-too-large",
    "quota-cut",
)


@pytest.fixture(scope="module")
def rows(play: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    return play(*NAMES)


@pytest.mark.parametrize("name", ["worker-killed-in-pipeline", "worker-killed-among-replicas"])
def test_a_worker_killed_while_it_computes_costs_no_answer(rows, survived, name: str) -> None:
    assert survived(rows[name])
    assert rows[name]["in_flight"] >= 12
    assert rows[name]["failed_with_reason"] == 0


def test_a_worker_that_hangs_is_planned_around_and_is_back_once_it_goes_on(rows, survived) -> None:
    if survived(rows["worker-hangs"]):
        assert rows["worker-hangs"]["failed_with_reason"] == 0
        assert rows["worker-hangs"]["late_answers_dropped"] > 0


def test_a_device_whose_cable_is_pulled_is_planned_around_and_rejoins_by_itself(rows, survived) -> None:
    if survived(rows["network-cut"]):
        assert rows["network-cut"]["failed_with_reason"] == 0


def test_a_device_that_gets_a_quarter_of_its_processor_is_planned_anew_without_silence(rows, survived) -> None:
    if survived(rows["quota-cut"]):
        assert any("0.25 cores" in one["cause"] for one in rows["quota-cut"]["decisions"])


def test_a_link_that_becomes_slow_changes_the_plan(rows, survived) -> None:
    if survived(rows["link-slow"]):
        plans = [one["plan"] for one in rows["link-slow"]["plans"]]
        assert plans[0] != plans[1]


def test_the_last_of_three_devices_serves_alone_where_it_can(rows, survived) -> None:
    assert survived(rows["two-lost-third-serves"])
    assert rows["two-lost-third-serves"]["failed_with_reason"] == 0


def test_where_the_last_device_is_too_small_requests_are_told_what_memory_is_missing(rows, survived) -> None:
    row = rows["two-lost-too-large"]
    assert survived(row)
    assert row["failed_with_reason"] >= 10
    assert all("MB missing" in detail for detail in row["failure_details"][:1])
