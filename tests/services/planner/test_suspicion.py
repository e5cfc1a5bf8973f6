"""When a link is suspected, and how often anybody is bothered with it: as values."""

from __future__ import annotations

import pytest

from schemas.accuracy import RouteSeen
from schemas.plan import Prediction, Route
from schemas.plan_text import parse_route
from services.planner.suspicion import Suspicion, how_slow


def route(latency_ms: float = 40.0, throughput_rps: float = 25.0) -> Route:
    predicted = Prediction(latency_ms=latency_ms, throughput_rps=throughput_rps, energy_j=0.1)
    return parse_route("pi[0:2) -> nano[2:4)").model_copy(update={"predicted": predicted})


def seen(latency_ms: float, *, answers: int = 10, waiting: int = 1, silent_s: float = 0.0) -> RouteSeen:
    return RouteSeen(route=0, answers=answers, latency_ms=latency_ms, waiting=waiting, silent_s=silent_s)


@pytest.mark.parametrize(
    ("report", "explained_ms", "slowness", "under_way", "slow"),
    [
        (seen(41.0), 0.0, 1.0, 1, 0),
        (seen(59.0), 0.0, 1.0, 1, 0),
        (seen(90.0), 0.0, 1.0, 1, 1),
        (seen(90.0), 60.0, 1.0, 1, 0),
        (seen(150.0), 0.0, 1.0, 4, 0),
        (seen(400.0), 0.0, 1.0, 4, 1),
        (seen(700.0), 0.0, 1.0, 4, 2),
        (seen(400.0), 0.0, 2.0, 4, 0),
        (seen(0.0, answers=0, waiting=1, silent_s=2.0), 0.0, 1.0, 1, 1),
        (seen(0.0, answers=0, waiting=0), 0.0, 1.0, 0, 0),
    ],
)
def test_a_route_how_slow_when_neither_its_stages_nor_its_queue_explain_it(
    report: RouteSeen, explained_ms: float, slowness: float, under_way: int, slow: int
) -> None:
    found = how_slow(report, route(), explained_ms=explained_ms, slowness=slowness, under_way=under_way)
    assert found == slow


def test_short_latencies_are_left_to_scheduling() -> None:
    assert not how_slow(seen(12.0), route(4.0, 250.0), explained_ms=0.0, slowness=1.0, under_way=1)


def test_a_route_without_a_prediction_is_never_suspected() -> None:
    assert not how_slow(seen(9000.0), parse_route("pi[0:4)"), explained_ms=0.0, slowness=1.0, under_way=1)


DEVICES = ("pi", "nano")


def walk(times: list[tuple[float, int]], suspicion: Suspicion | None = None) -> list[float]:
    """When the devices of the route were asked."""
    suspicion = suspicion or Suspicion()
    asked = []
    for now_s, slow in times:
        suspicion, due = suspicion.with_report(1, 0, slow=slow, devices=DEVICES, now_s=now_s)
        assert due in ((), DEVICES)
        asked += [now_s] * bool(due)
    return asked


def test_two_reports_in_a_row_are_needed() -> None:
    assert walk([(0, 1), (1, 0), (2, 1), (3, 0)]) == []
    assert walk([(0, 1), (1, 1)]) == [1]


def test_reports_of_several_submitters_at_once_are_one() -> None:
    assert walk([(0, 1), (0.1, 1), (0.2, 1)]) == []


def test_a_device_is_asked_again_after_five_seconds_and_then_ever_more_rarely() -> None:
    assert walk([(float(second), 1) for second in range(80)]) == [1, 6, 16, 36, 76]


def test_one_report_is_enough_when_answers_take_very_much_longer() -> None:
    assert walk([(0, 2)]) == [0]


def test_whoever_is_well_and_ill_by_turns_is_asked_every_five_seconds_at_most() -> None:
    turns = [(float(second), 2 * (second % 2)) for second in range(20)]
    assert walk(turns) == [1, 7, 13, 19]


def test_when_all_is_well_again_the_next_suspicion_is_asked_about_at_once() -> None:
    bad = [(float(second), 1) for second in range(30)]
    assert walk([*bad, (30, 0), (31, 1), (32, 1)])[-1] == 32


def test_another_generation_starts_without_doubts() -> None:
    suspicion, _ = Suspicion().with_report(1, 0, slow=1, devices=DEVICES, now_s=0)
    suspicion, due = suspicion.with_report(2, 0, slow=1, devices=DEVICES, now_s=1)
    assert due == ()
    assert suspicion.with_report(2, 0, slow=1, devices=DEVICES, now_s=2)[1] == DEVICES


def test_a_link_that_is_suspected_for_days_is_asked_about_every_minute_and_costs_no_more_memory() -> None:
    suspicion, asked = Suspicion(), 0
    for minute in range(3 * 24 * 60):
        suspicion, due = suspicion.with_report(1, 0, slow=2, devices=DEVICES, now_s=60.0 * minute)
        asked += bool(due)
    assert asked == 3 * 24 * 60
    assert suspicion.asked.keys() == set(DEVICES)


def test_devices_of_plans_long_gone_are_forgotten() -> None:
    suspicion, _ = Suspicion().with_report(1, 0, slow=2, devices=DEVICES, now_s=0)
    suspicion, _ = suspicion.with_report(2, 0, slow=2, devices=("other",), now_s=1000)
    assert suspicion.asked.keys() == {"other"}
