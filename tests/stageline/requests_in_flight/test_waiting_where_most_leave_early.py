"""How long to wait for a request of a plan with exits, which most leave early."""

from __future__ import annotations

import pytest

from schemas.plan import ExitRule, Plan, StagePrediction
from stageline.requests_in_flight import RequestsInFlight
from tests.stageline.requests_in_flight.flights import (
    act,
    go,
    make_plan,
    slow_plan,
)


def early_plan(*routes: tuple[str, ...]) -> Plan:
    """Nearly all leave at the first stage: a mean of 0.5 s, and 3.2 s for those that do not."""
    quick = StagePrediction(down_ms=0, compute_ms=200, up_ms=0)
    deep = StagePrediction(down_ms=0, compute_ms=3000, up_ms=0)
    plan = slow_plan(1, routes, latency_s=0.5, window=4)
    told = tuple(route.model_copy(update={"stage_predictions": (quick, deep)}) for route in plan.routes)
    exits = (ExitRule(name="exit1", block=0, threshold=0.8, share=0.9),)
    return plan.model_copy(update={"routes": told, "exits": exits})


@pytest.mark.parametrize("before", ["nothing", "easy ones", "easy ones by an exit of the last stage", "late ones"])
def test_easy_requests_do_not_make_a_hard_one_go_twice(before: str) -> None:
    flight = RequestsInFlight()
    flight.follow(early_plan(("a", "b"), ("c", "d")), now=0.0)
    now, whole = 0.0, before == "easy ones by an exit of the last stage"
    for number in range(0 if before == "nothing" else 40):
        flight.accept(f"easy {number}", now=now, deadline=now + (0.1 if before == "late ones" else 9.0))
        go(flight, now)
        act(flight, now + 0.15)
        assert flight.answered(f"easy {number}", 0, now=now + 0.2, whole=whole, early=True) == (before != "late ones")
        now += 1.0
    flight.accept("hard", now=now, deadline=now + 30.0)
    ((_, _, route),) = go(flight, now)
    for tenth in range(1, 50):
        assert go(flight, now + tenth / 10) == []
    assert flight.answered("hard", 0, now=now + 5.0)
    for name in ("x", "y"):
        flight.accept(name, now=now + 5.0, deadline=now + 30.0)
    # Nothing is held against its route.
    assert {one[2] for one in go(flight, now + 5.0)} == {route, 1 - route}


def test_where_all_leave_by_exits_their_answers_teach_how_long_to_wait() -> None:
    flight = RequestsInFlight()
    flight.follow(make_plan(1, (("a", "b"),)), now=0.0)
    flight.accept("x", now=0.0, deadline=99.0)
    go(flight, 0.0)
    assert flight.answered("x", 0, now=8.0, whole=False, early=True)
    assert flight.board.usual_s(0) > 8.0
