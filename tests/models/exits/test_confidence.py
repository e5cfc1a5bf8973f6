"""How sure a head is, in numbers that may be anything."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.exits.confidence import confidence, is_confident
from schemas.codec import Array

LOGITS = st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=20)


def row(*values: float) -> Array:
    return np.array([values], np.float32)


def test_it_is_the_largest_softmax_probability() -> None:
    assert confidence(row(0.0, math.log(3.0))) == pytest.approx(0.75, abs=1e-7)
    assert confidence(row(1.0, 1.0, 1.0, 1.0)) == 0.25
    assert confidence(row(-3.0)) == 1.0


@given(LOGITS)
def test_it_lies_between_an_even_guess_and_certainty(values: list[float]) -> None:
    assert 1 / len(values) - 1e-9 <= confidence(row(*values)) <= 1.0


@given(LOGITS, st.floats(-100, 100, width=16))
def test_the_same_added_to_all_changes_nothing(values: list[float], shift: float) -> None:
    logits = np.array(values, np.float64)
    assert confidence(logits + shift) == pytest.approx(confidence(logits), abs=1e-6)


def test_large_logits_do_not_overflow() -> None:
    assert confidence(row(3e38, -3e38)) == 1.0
    assert confidence(np.array([[60000.0, 0.0]], np.float16)) == 1.0


def test_the_shape_does_not_matter() -> None:
    flat = row(0.1, 2.0, -1.0)
    assert confidence(flat.reshape(1, 3, 1, 1)) == confidence(flat)


@pytest.mark.parametrize(
    "logits", [row(math.nan, 1.0), row(math.inf, 1.0), row(-math.inf, -math.inf), np.zeros((1, 0), np.float32)]
)
def test_logits_that_say_nothing_never_let_a_request_leave(logits: Array) -> None:
    assert math.isnan(confidence(logits))
    assert not is_confident(logits, 0.0)


def test_a_class_that_is_ruled_out_is_no_trouble() -> None:
    assert confidence(row(0.0, -math.inf)) == 1.0


def test_with_threshold_zero_everything_leaves_and_with_nan_nothing() -> None:
    assert is_confident(row(0.0, 0.0, 0.0), 0.0)
    assert not is_confident(row(100.0, 0.0), math.nan)


@given(LOGITS, st.floats(0, 1), st.floats(0, 1))
def test_what_leaves_at_a_threshold_leaves_at_any_lower_one(values: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    if is_confident(row(*values), high):
        assert is_confident(row(*values), low)
