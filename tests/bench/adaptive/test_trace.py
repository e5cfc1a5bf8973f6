"""A trace is the same wherever it is made, favours no device, and ends as calmly as it began."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.adaptive.trace import DISTURBED, Change, as_data, make_trace, spans

DEVICES = ("high", "medium", "low")


def test_the_same_seed_makes_the_same_trace_and_another_one_another() -> None:
    assert make_trace(DEVICES, 300, 0) == make_trace(DEVICES, 300, 0)
    assert make_trace(DEVICES, 300, 0) != make_trace(DEVICES, 300, 1)


@given(st.integers(0, 1000))
def test_in_five_minutes_every_device_and_every_kind_comes_twice_and_nothing_the_same_way_again(seed: int) -> None:
    begun = [(one.device, one.what) for one in make_trace(DEVICES, 300, seed) if one.value is not None]
    assert Counter(device for device, _ in begun) == dict.fromkeys(DEVICES, 2)
    assert Counter(what for _, what in begun) == dict.fromkeys(DISTURBED, 2)
    assert len(set(begun)) == len(begun)


@given(st.integers(0, 1000))
def test_in_one_minute_every_kind_comes_once_and_no_device_twice(seed: int) -> None:
    begun = [one for one in make_trace(DEVICES, 60, seed) if one.value is not None]
    assert {one.what for one in begun} == set(DISTURBED)
    assert {one.device for one in begun} == set(DEVICES)


@given(st.integers(0, 1000), st.sampled_from((60.0, 100.0, 300.0)))
def test_disturbances_come_one_after_the_other_with_calm_between_and_all_of_them_end(seed: int, seconds: float) -> None:
    trace = make_trace(DEVICES, seconds, seed)
    assert [one.at_s for one in trace] == sorted(one.at_s for one in trace)
    assert len(trace) == 2 * len(spans(trace, seconds))
    end_s = 0.0
    for from_s, to_s, _ in spans(trace, seconds):
        assert end_s < from_s < to_s <= seconds
        end_s = to_s


def test_only_the_kinds_that_can_be_had_change() -> None:
    assert {one.what for one in make_trace(DEVICES, 300, 0, ("load", "cores"))} == {"load", "cores"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Change(1.0, "pi", "load", 2.0), "pi: 2 other programs"),
        (Change(1.0, "pi", "cores", 0.25), "pi: 25% of its cores"),
        (Change(1.0, "pi", "link", 5.0), "pi: link 5 Mbit/s"),
        (Change(1.0, "pi", "link", None), "pi: link as before"),
    ],
)
def test_a_change_reads_like_a_sentence_and_is_data(change: Change, said: str) -> None:
    assert str(change) == said
    assert Change(**as_data([change])[0]) == change  # type: ignore[arg-type]
