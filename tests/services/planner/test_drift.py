"""When a plan is left: margin, price of the switch, agreement and pause."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from schemas.plan import Prediction
from services.planner.drift import Drift, Rules, judge
from services.planner.policy import Choice
from services.planner.review import Review

RULES = Rules(margin=0.1, horizon_s=100.0, agree=4, agree_sudden=2, large=0.5, pause_s=20.0, pause_sudden_s=5.0)
CHOICE = Choice((), Prediction(latency_ms=1, throughput_rps=1, energy_j=1), "any")


def seen(gain: float, *, switch_s: float = 1.0, sudden: bool = False, present: Choice | None = CHOICE) -> Review:
    return Review(present, CHOICE, gain, switch_s, moved_bytes=0, sudden=sudden, cause="")


def moves(*reviews: Review, start: Drift | None = None, first_s: float = 0.0) -> list[float]:
    """Times of the moves when reviews come every second."""
    drift, found = start or Drift(), []
    for second, one in enumerate(reviews):
        drift, move = judge(drift, one, first_s + second, RULES)
        if move:
            found.append(first_s + second)
    return found


def test_a_small_gain_is_none() -> None:
    assert moves(*[seen(0.1)] * 50) == []


def test_a_gain_must_be_seen_several_times_in_a_row() -> None:
    assert moves(*[seen(0.2)] * 4) == [3.0]
    assert moves(seen(0.2), seen(0.2), seen(0.2), seen(0.05), seen(0.2), seen(0.2), seen(0.2)) == []


def test_what_is_known_exactly_or_is_very_large_needs_to_be_seen_less_often() -> None:
    assert moves(*[seen(0.2, sudden=True)] * 4) == [1.0]
    assert moves(*[seen(0.6)] * 4) == [1.0]


def test_a_gain_must_pay_for_the_switch() -> None:
    assert moves(*[seen(0.2, switch_s=5.0)] * 10)
    assert moves(*[seen(0.2, switch_s=15.0)] * 10) == []
    assert moves(*[seen(0.9, switch_s=200.0, sudden=True)] * 10) == []
    assert moves(*[seen(0.9, switch_s=float("inf"))] * 10) == []


def test_a_plan_that_cannot_go_on_is_left_whatever_it_costs() -> None:
    assert moves(*[seen(1.0, switch_s=500.0, sudden=True, present=None)] * 3) == [1.0]


def test_after_a_move_there_is_a_pause_shorter_where_something_happened() -> None:
    def next_move(**traits: Any) -> float:
        return moves(*[seen(0.2, **traits)] * 60, start=Drift(moved_s=0.0), first_s=1.0)[0]

    assert next_move() == 20.0
    assert next_move(sudden=True) == 5.0


def test_reviews_that_agree_during_the_pause_count() -> None:
    drift = Drift(moved_s=0.0)
    for second in range(1, 20):
        drift, move = judge(drift, seen(0.2), float(second), RULES)
        assert not move
    assert judge(drift, seen(0.2), 20.0, RULES)[1]


def test_a_plan_that_caution_prefers_though_it_is_worse_is_no_reason() -> None:
    assert moves(*[seen(-0.1, sudden=True)] * 10) == []


def test_moves_that_follow_each_other_soon_become_ever_rarer_and_a_calm_time_forgives() -> None:
    times = moves(*[seen(0.2)] * 400)
    assert [after - before for before, after in pairwise(times)][:4] == [20.0, 40.0, 80.0, 160.0]
    assert RULES.pause_after_s(Drift(moves=20)) == RULES.pause_most_s
    rested = Drift(moved_s=0.0, moves=5)
    for second in range(4):
        rested, moved = judge(rested, seen(0.2), RULES.calm_s + second, RULES)
    assert moved
    assert rested.moves == 1
    assert moves(*[seen(0.6)] * 12)[:3] == [1.0, 6.0, 11.0]


def test_sudden_changes_that_come_and_go_are_answered_twice_at_once_and_then_ever_more_rarely() -> None:
    times = moves(*[seen(0.6, sudden=True)] * 400)
    assert [after - before for before, after in pairwise(times)][:5] == [5.0, 5.0, 10.0, 20.0, 40.0]
    assert RULES.pause_after_s(Drift(moves=20), sudden=True) == RULES.pause_most_s


def test_a_plan_that_cannot_go_on_does_not_wait_for_the_moves_before_it() -> None:
    drift = Drift(moved_s=0.0, moves=50)
    assert moves(*[seen(1.0, present=None)] * 9, start=drift, first_s=1.0)[0] == 5.0


def test_however_many_moves_there_were_the_pause_can_be_told() -> None:
    for sudden in (False, True):
        assert RULES.pause_after_s(Drift(moves=1 << 20), sudden=sudden) == RULES.pause_most_s
