"""Confidence from pairs, and what learning may cost: by hand, and for anything."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.planner.learning.budget import Budget
from services.planner.learning.pairs import CONFIDENCE_Z, Pairs, student, through

costs = st.floats(1e-3, 1e6)
pairs_of = st.lists(st.tuples(costs, costs), max_size=60)


def collected(values: list[tuple[float, float]]) -> Pairs:
    known = Pairs()
    for challenger, incumbent in values:
        known = known.with_pair(challenger, incumbent)
    return known


def test_of_two_pairs_nothing_is_said_and_of_three_clear_ones_that_it_is_better() -> None:
    known = collected([(70, 100)] * 2)
    assert (known.at_least, known.at_most) == (-math.inf, math.inf)
    known = known.with_pair(70, 100)
    assert known.mean == pytest.approx(0.3)
    assert 0.02 < known.at_least < 0.3 < known.at_most


def test_a_difference_within_the_noise_is_never_sure() -> None:
    draw = random.Random(1)
    known = collected([(100 * draw.gauss(1, 0.1), 100 * draw.gauss(1, 0.1)) for _ in range(200)])
    assert known.at_least < 0.02
    assert abs(known.mean) < 0.1


@given(pairs_of)
def test_bounds_are_around_the_mean_and_finite_sums_stay_finite(values: list[tuple[float, float]]) -> None:
    known = collected(values)
    assert known.at_least <= known.mean <= known.at_most
    assert -2.0 - 1e-9 <= known.mean <= 1.0 + 1e-9
    assert math.isfinite(known.total)
    assert math.isfinite(known.squares)


@given(st.lists(st.tuples(costs, costs), min_size=4, max_size=60), st.floats(0.3, 1.0))
def test_what_has_faded_is_less_sure(values: list[tuple[float, float]], keep: float) -> None:
    known = collected(values)
    faded = known.faded(keep)
    assert faded.mean == pytest.approx(known.mean)
    assert faded.at_least <= known.at_least + 1e-9


def test_what_is_better_than_the_better_one_saves_both_shares() -> None:
    assert through(collected([(80, 100)] * 5), collected([(50, 100)] * 9)).mean == pytest.approx(1 - 0.8 * 0.5)
    assert through(Pairs(), collected([(50, 100)] * 9)).weight == 0


@pytest.mark.parametrize(("freedom", "expected"), [(4, 2.999), (10, 2.359), (100, 2.081), (1e9, 2.0537)])
def test_the_quantile_is_students(freedom: float, expected: float) -> None:
    assert student(2.0537, freedom) == pytest.approx(expected, rel=0.03)
    assert student(CONFIDENCE_Z, freedom) > CONFIDENCE_Z - 1e-6


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=300))
def test_the_budget_is_never_overdrawn_by_more_than_the_last_trial(wishes: list[tuple[bool, float]]) -> None:
    budget, last = Budget(), 0.0
    for explore, extra in wishes:
        if explore and budget.allows(0.0):
            budget, last = budget.spent(extra), extra
        else:
            budget = budget.decided()
        limits = budget.limits
        assert budget.explored <= limits.free + limits.share * budget.decisions
        assert budget.extra - last <= limits.cost_share * budget.decisions + limits.cost_free
    assert 0 <= budget.explored_share <= 1


def test_what_is_expected_to_cost_too_much_is_not_tried() -> None:
    assert not Budget().allows(1.5)
    assert Budget().allows(0.9)
    assert Budget(decisions=1000).allows(30.0)
