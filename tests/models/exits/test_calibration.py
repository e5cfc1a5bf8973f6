"""Thresholds from validation data: what they lead to, which are worth having, and which are chosen."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.exits.calibration import (
    BadThresholdsError,
    Choice,
    UnreachableAccuracyError,
    Work,
    cheapest,
    correctness_correlation,
    correlation,
    evaluate,
)
from models.exits.measured import Measured
from models.exits.worthwhile import threshold_levels, worthwhile


def made_up(examples: int, exits: int, seed: int) -> Measured:
    """Later exits know more, and who is sure is right more often."""
    rng = np.random.default_rng(seed)
    hard = rng.random((examples, 1))
    skill = np.linspace(0.4, 1.0, exits + 1)
    sure = np.clip(skill * (1 - hard) + 0.2 * rng.random((examples, exits + 1)), 0.01, 0.99)
    return Measured(sure.astype(np.float32), rng.random((examples, exits + 1)) < 0.3 + 0.7 * sure)


def work_of(exits: int) -> Work:
    return Work(tuple(100 * (place + 1) for place in range(exits + 1)), (7,) * exits)


@given(st.integers(1, 4), st.integers(0, 1000), st.data())
def test_thresholds_lead_to_what_walking_through_the_exits_one_by_one_gives(
    exits: int, seed: int, data: st.DataObject
) -> None:
    measured, work = made_up(40, exits, seed), work_of(exits)
    thresholds = [data.draw(st.sampled_from([0.0, 0.3, 0.55, 0.8, 1.0])) for _ in range(exits)]
    hits = macs = 0
    left = [0] * exits
    for n in range(40):
        for place, threshold in enumerate(thresholds):
            macs += work.heads[place] if threshold < 1 else 0
            if threshold < 1 and measured.confidence[n, place] >= np.float32(threshold):
                hits += int(measured.correct[n, place])
                macs += work.until[place]
                left[place] += 1
                break
        else:
            hits += int(measured.correct[n, -1])
            macs += work.until[-1]
    found = evaluate(measured, work, thresholds)
    assert found.accuracy == pytest.approx(hits / 40)
    assert found.macs == pytest.approx(macs / 40)
    assert found.shares == pytest.approx([count / 40 for count in left])


@given(st.integers(1, 3), st.integers(0, 1000))
def test_nothing_of_the_grid_beats_a_worthwhile_choice(exits: int, seed: int) -> None:
    measured, work = made_up(60, exits, seed), work_of(exits)
    found = worthwhile(measured, work, levels=4, most=1000)
    grid = [threshold_levels(measured.confidence[:, place], 4) for place in range(exits)]
    every = [evaluate(measured, work, thresholds) for thresholds in product(*grid)]
    front = {
        (one.accuracy, one.macs)
        for one in every
        if not any(o.accuracy >= one.accuracy and o.macs < one.macs for o in every)
        and not any(o.accuracy > one.accuracy and o.macs <= one.macs for o in every)
    }
    assert {(one.accuracy, one.macs) for one in found} == front


def test_a_narrow_beam_loses_little_against_trying_everything() -> None:
    measured, work = made_up(400, 4, 0), work_of(4)
    narrow = worthwhile(measured, work, levels=6, beam=150, most=10_000)
    every = worthwhile(measured, work, levels=6, beam=10_000, most=10_000)
    for one in every:
        near = cheapest(narrow, min(one.accuracy, narrow[-1].accuracy))
        assert near.macs <= one.macs * 1.05
    assert narrow[-1].accuracy >= every[-1].accuracy - 0.005


def test_worthwhile_choices_rise_in_both_and_keep_both_ends_when_thinned() -> None:
    measured, work = made_up(300, 2, 1), work_of(2)
    full, few = worthwhile(measured, work, most=1000), worthwhile(measured, work, most=5)
    for earlier, later in pairwise(full):
        assert earlier.accuracy < later.accuracy
        assert earlier.macs < later.macs
    assert len(few) == 5
    assert (few[0], few[-1]) == (full[0], full[-1])


def test_the_chosen_thresholds_are_the_least_work_that_is_accurate_enough() -> None:
    choices = [Choice((0.2,), (0.9,), 0.7, 10.0), Choice((0.5,), (0.5,), 0.8, 20.0), Choice((1.0,), (0.0,), 0.9, 40.0)]
    assert cheapest(choices, 0.75) is choices[1]
    assert cheapest(choices, 0.9) is choices[2]
    assert cheapest(choices, 0.0) is choices[0]


def test_an_accuracy_out_of_reach_is_told_with_the_best_there_is() -> None:
    with pytest.raises(UnreachableAccuracyError, match=r"0\.9900 .* best is 0\.9000"):
        cheapest([Choice((1.0,), (0.0,), 0.9, 40.0)], 0.99)


@pytest.mark.parametrize("thresholds", [[0.5], [0.5, 1.2], [-0.1, 0.5], [0.5, float("nan")], []])
def test_thresholds_that_do_not_fit_are_refused(thresholds: list[float]) -> None:
    with pytest.raises(BadThresholdsError, match="each of the 2 exits"):
        evaluate(made_up(10, 2, 0), work_of(2), thresholds)


def test_a_closed_exit_costs_nothing_and_lets_nobody_leave() -> None:
    measured, work = made_up(50, 2, 0), work_of(2)
    sure = Measured(np.ones_like(measured.confidence), measured.correct)
    assert evaluate(sure, work, [1.0, 1.0]) == Choice((1.0, 1.0), (0.0, 0.0), measured.accuracy[-1], 300.0)


def test_work_that_falls_is_refused() -> None:
    with pytest.raises(ValueError, match="rising"):
        Work((200, 100), (1,))


@given(st.integers(1, 4), st.integers(0, 1000))
def test_correlation_is_symmetric_within_one_and_that_of_numpy(exits: int, seed: int) -> None:
    measured = made_up(80, exits, seed)
    thresholds = [float(np.median(measured.confidence[:, place])) for place in range(exits)]
    found = np.array(correlation(measured, thresholds))
    verdicts = measured.confidence[:, :exits] >= np.array(thresholds, np.float32)
    assert np.allclose(found, np.corrcoef(verdicts.T.astype(float)).reshape(exits, exits))


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_of_an_exit_that_all_or_none_leave_at_there_is_no_correlation(constant: float) -> None:
    found = correlation(made_up(80, 2, 0), [0.5, constant])
    assert found == ((1.0, None), (None, None))


@given(st.integers(1, 4), st.integers(0, 1000))
def test_being_right_is_correlated_for_every_output_whatever_the_thresholds(exits: int, seed: int) -> None:
    measured = made_up(80, exits, seed)
    found = np.array(correctness_correlation(measured), float)
    assert np.allclose(found, np.corrcoef(measured.correct.T.astype(float)), equal_nan=True)


def test_an_output_that_is_always_right_correlates_with_nothing() -> None:
    measured = made_up(80, 1, 0)
    right = measured.correct.copy()
    right[:, 1] = True
    assert correctness_correlation(Measured(measured.confidence, right)) == ((1.0, None), (None, None))
