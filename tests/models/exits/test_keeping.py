"""Which of many trained exits to keep: every method within its limits, and none better than trying everything."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.exits.calibration import Work, evaluate
from models.exits.keeping import BadKeepingError, Keeping, methods
from models.exits.measured import Measured


def made_up(exits: int, seed: int, examples: int = 60) -> Measured:
    """Later exits know more, and who is sure is right more often."""
    rng = np.random.default_rng(seed)
    hard = rng.random((examples, 1))
    skill = np.linspace(0.4, 1.0, exits + 1)
    sure = np.clip(skill * (1 - hard) + 0.2 * rng.random((examples, exits + 1)), 0.01, 0.99)
    return Measured(sure.astype(np.float32), rng.random((examples, exits + 1)) < 0.3 + 0.7 * sure)


def work_of(exits: int, head: int = 7) -> Work:
    return Work(tuple(100 * (place + 1) for place in range(exits + 1)), (head,) * exits)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(0, 1000), st.floats(0, 0.3), st.data())
def test_every_method_keeps_at_most_so_many_and_none_that_is_accurate_enough_beats_trying_all(
    exits: int, seed: int, loss: float, data: st.DataObject
) -> None:
    most = data.draw(st.integers(1, exits))
    keeping = Keeping.of(made_up(exits, seed), work_of(exits), most, loss)
    found = {name: choose(keeping) for name, choose in methods(keeping).items()}
    assert set(found) == {"spinn", "dp", "beam", "aco", "brute-force"}
    assert all(len(kept) <= most for kept in found.values())
    outcomes = {name: keeping.outcome(kept) for name, kept in found.items()}
    for name in ("beam", "aco", "brute-force"):
        assert keeping.reached(outcomes[name])
    every = [keeping.outcome(kept) for count in range(most + 1) for kept in combinations(range(exits), count)]
    least = min(one.macs for one in every if keeping.reached(one))
    assert outcomes["brute-force"].macs == pytest.approx(least)


def test_an_exit_by_itself_costs_at_most_its_part_of_what_may_be_lost() -> None:
    measured, work = made_up(4, 3, examples=400), work_of(4)
    keeping = Keeping.of(measured, work, 2, 0.05)
    assert any(one < 1 for one in keeping.thresholds)
    for place, threshold in enumerate(keeping.thresholds):
        alone = evaluate(measured, work, [threshold if one == place else 1.0 for one in range(4)])
        assert alone.accuracy >= measured.accuracy[-1] - 0.025 - 1e-9
        assert keeping.outcome((place,)) == alone


def test_heads_dearer_than_what_they_save_are_not_kept_by_who_counts_them() -> None:
    keeping = Keeping.of(made_up(3, 5), work_of(3, head=10_000), 2, 0.5)
    kept = {name: choose(keeping) for name, choose in methods(keeping).items()}
    assert kept.pop("spinn") == (1, 2)
    assert set(kept.values()) == {()}


def test_where_there_are_too_many_settings_only_searches_are_asked() -> None:
    keeping = Keeping.of(made_up(20, 1), work_of(20), 6, 0.02)
    assert set(methods(keeping)) == {"spinn", "dp", "beam", "aco"}


@pytest.mark.parametrize(
    ("exits", "most", "loss", "says"),
    [
        (1, 1, 0.01, "one exit, so there is nothing to choose"),
        (3, 4, 0.01, "4 exits cannot be kept of 3: give 1 to 3"),
        (3, 0, 0.01, "0 exits cannot be kept of 3"),
        (3, 2, 1.5, "write a share from 0 to 1"),
        (3, 2, float("nan"), "write a share from 0 to 1"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(exits: int, most: int, loss: float, says: str) -> None:
    with pytest.raises(BadKeepingError, match=says):
        Keeping.of(made_up(exits, 0), work_of(exits), most, loss)
