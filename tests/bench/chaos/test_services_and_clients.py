"""Planner, broker, monitor and submitters die; inputs are poisonous; what is old is said again; clocks jump."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(1800)

NAMES = (
    "planner-killed",
    "broker-killed",
    "monitor-killed",
    "submitter-killed",
    "flood",
    "poisonous-input",
    "replayed",
    "clock-jump",
)


@pytest.fixture(scope="module")
def rows(play: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    return play(*NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "poisonous-input"])
def test_every_request_is_answered(rows, survived, name: str) -> None:
    assert survived(rows[name])
    assert rows[name]["failed_with_reason"] == 0


def test_a_planner_that_starts_again_goes_on_counting_and_leaves_a_good_plan_alone(rows) -> None:
    generations = [plan["generation"] for plan in rows["planner-killed"]["plans"]]
    assert generations == list(range(generations[0], generations[-1] + 1))
    assert len(generations) > 1


def test_only_poisonous_requests_fail_each_with_its_reason_after_three_tries(rows, survived) -> None:
    row = rows["poisonous-input"]
    assert survived(row)
    assert row["failed_with_reason"] >= 1
    assert set(row["failures"]) == {"stage-failed"}
    assert "Gather" in row["failure_details"][0]
    assert 1 < row["tries_each"] <= 3


def test_a_flood_is_held_in_bounds_and_most_of_it_is_told_that_it_came_too_late(rows) -> None:
    row = rows["flood"]
    assert row["flood_submitted"] > 2 * row["flood_answered"]
    assert row["broker_grows_mb"] <= row["limits"]["broker_grows_mb"]["most"]
    assert row["worker_grows_mb"] <= row["limits"]["worker_grows_mb"]["most"]


def test_what_is_said_again_is_counted_and_never_shown(rows) -> None:
    row = rows["replayed"]
    assert row["answers_dropped"] >= 80
    assert row["frames_refused"] > 0
    assert row["duplicates_visible"] == 0
