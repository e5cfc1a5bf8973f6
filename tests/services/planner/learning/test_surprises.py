"""One measurement far from all that is known counts for less; a second one on the same side counts in full."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.planner.learning.linear import Linear
from services.planner.learning.surprise import Side, believed

TERMS, PREDICTED = {"a.compute": 60.0, "a.down": 40.0}, 100.0


def well_known() -> Linear:
    linear = Linear()
    for _ in range(30):
        linear = linear.learned("p", TERMS, PREDICTED, 100.0)
    return linear


def judged(measured: float, before: Side = 0) -> tuple[float, Side]:
    return believed(well_known(), "p", TERMS, PREDICTED, measured=measured, before=before)


@pytest.mark.parametrize("measured", [80.0, 100.0, 125.0])
def test_what_noise_explains_counts_as_it_is(measured: float) -> None:
    assert judged(measured) == (measured, 0)


def test_a_stall_counts_for_little_and_a_second_one_in_full() -> None:
    once, side = judged(500.0)
    assert 120 < once < 150
    assert side == 1
    assert judged(500.0, side) == (500.0, 1)


def test_what_is_far_too_good_counts_for_little_unless_it_is_seen_again() -> None:
    once, side = judged(10.0)
    assert 50 < once < 80
    assert side == -1
    assert judged(10.0, side)[0] == 10.0
    assert judged(500.0, side)[0] < 150


def test_of_a_plan_that_was_never_served_much_is_believed() -> None:
    assert believed(Linear(), "new", TERMS, PREDICTED, measured=220.0) == (220.0, 0)


@given(st.floats(1e-6, 1e9), st.sampled_from([-1, 0, 1]))
def test_what_counts_lies_between_what_was_known_and_what_was_measured(measured: float, before: Side) -> None:
    counts, _ = judged(measured, before)
    known = well_known().estimates({"p": (TERMS, PREDICTED)})["p"].mean
    assert min(measured, known) <= counts <= max(measured, known)
