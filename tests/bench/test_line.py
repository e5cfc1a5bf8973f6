from types import SimpleNamespace

import numpy as np
import pytest

from bench.line import Line, NoNumberError, difference, made_up_inputs
from bench.loads import weakest
from schemas.model import TensorSpec


class Card:
    inputs = (
        TensorSpec(name="picture", dtype="uint8", shape=(1, 4, 4, 3)),
        TensorSpec(name="hint", dtype="float32", shape=(1, 2)),
    )


def test_inputs_differ_from_one_another_and_are_the_same_every_time():
    first, again = made_up_inputs(Card(), 3), made_up_inputs(Card(), 3)
    assert [one["hint"].shape for one in first] == [(1, 2)] * 3
    assert not np.array_equal(first[0]["picture"], first[1]["picture"])
    assert all(np.array_equal(a["picture"], b["picture"]) for a, b in zip(first, again, strict=True))


def test_the_largest_difference_of_any_output_counts():
    expected = {"a": np.zeros(3, np.float32), "b": np.array([1.0], np.float32)}
    answered = {"a": np.array([0.0, -0.5, 0.25], np.float32), "b": np.array([1.0], np.float32)}
    assert difference(expected, answered) == 0.5


def test_an_answer_that_is_not_a_number_is_no_small_difference():
    expected = {"a": np.zeros(2, np.float32), "b": np.zeros(1, np.float32)}
    answered = {"a": np.array([0.5, 0.0], np.float32), "b": np.array([np.nan], np.float32)}
    assert np.isnan(difference(expected, answered))
    line = Line(None, None, "the plan", (), [expected])
    with pytest.raises(NoNumberError, match="the plan"):
        line.compare(0, SimpleNamespace(outputs=answered))


def test_a_missing_output_is_an_error_and_no_difference_of_none():
    with pytest.raises(KeyError):
        difference({"a": np.zeros(1)}, {})


def test_joules_are_measured_only_where_all_receipts_say_so():
    assert weakest({"measured"}) == "measured"
    assert weakest({"measured", "modelled"}) == "modelled"
    assert weakest({"measured", "unknown"}) == "unknown"
    assert weakest(set()) == "unknown"
