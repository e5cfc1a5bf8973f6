"""The regression finds which term takes longer than predicted, forgets, and stays bounded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.planner.learning.linear import SPREAD, TERMS_MOST, Linear

FAST = ({"a.compute": 20.0, "a.down": 40.0, "rest": 5.0}, 65.0)
SLOW = ({"b.compute": 70.0, "b.down": 8.0, "rest": 5.0}, 83.0)
BOTH = ({"a.compute": 10.0, "b.compute": 30.0, "a.up": 20.0, "b.down": 8.0, "rest": 5.0}, 73.0)


def test_before_anything_is_seen_a_plan_costs_what_is_predicted_and_that_is_not_sure() -> None:
    found = Linear().estimates({"fast": FAST})["fast"]
    assert found.mean == 65.0
    assert 0.3 * 65 < found.unsure < SPREAD * 1.1 * 65


def test_what_two_plans_cost_tells_which_link_is_slow() -> None:
    linear = Linear()
    for _ in range(20):
        linear = linear.learned("fast", *FAST, 105.0)  # its link takes twice as long
        linear = linear.learned("slow", *SLOW, 83.0)
        linear = linear.learned("both", *BOTH, 73.0)
    assert linear.factor("a.down") > 1.6
    assert linear.factor("a.compute") == pytest.approx(1.0, abs=0.4)
    assert linear.factor("b.compute") == pytest.approx(1.0, abs=0.15)
    assert linear.factor("never.seen") == 1.0
    found = linear.estimates({"fast": FAST, "other": ({"a.down": 40.0, "b.compute": 30.0}, 70.0)})
    assert found["fast"].mean == pytest.approx(105, rel=0.03)
    assert found["other"].mean > 85


def test_what_has_changed_is_learned_anew() -> None:
    linear = Linear()
    for cost in [130.0] * 50 + [65.0] * 250:
        linear = linear.learned("fast", *FAST, cost)
    assert linear.estimates({"fast": FAST})["fast"].mean == pytest.approx(65, rel=0.1)


def test_terms_without_end_are_told_apart_up_to_a_bound() -> None:
    linear = Linear()
    for number in range(3 * TERMS_MOST):
        linear = linear.learned(f"p{number}", {f"d{number}.up": 10.0, "rest": 1.0}, 11.0, 22.0)
    assert len(linear.names) <= TERMS_MOST
    assert np.isfinite(linear.gram).all()


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abcdef"), st.floats(1e-3, 1e5), min_size=1, max_size=5),
            st.floats(1e-6, 1e9),
        ),
        max_size=25,
    )
)
def test_estimates_stay_positive_and_finite_whatever_is_measured(seen: list[tuple[dict[str, float], float]]) -> None:
    linear = Linear()
    for terms, cost in seen:
        linear = linear.learned("p", terms, sum(terms.values()), cost)
    for terms, _ in seen:
        found = linear.estimates({"p": (terms, sum(terms.values()))})["p"]
        assert 0 < found.mean < float("inf")
        assert 0 <= found.unsure < float("inf")
