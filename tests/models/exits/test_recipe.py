"""The numbers of a training run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.exits.recipe import BadRecipeError, Recipe, rate_at


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ({"epochs": 0}, "epochs 0"),
        ({"batch": 1}, "batch 1"),
        ({"shift": -1}, "shift"),
        ({"seed": -5}, "seed -5: from 0 to 2147483647"),
        ({"seed": 2**31}, "seed 2147483648"),
        ({"learning_rate": 0.0}, "learning rate"),
        ({"learning_rate": float("nan")}, "learning rate"),
        ({"distil": 1.5}, "distil"),
        ({"temperature": 0.0}, "temperature"),
        ({"loss_weights": (1.0, -1.0)}, "loss weights"),
    ],
)
def test_numbers_out_of_range_are_refused(numbers: dict[str, float], says: str) -> None:
    with pytest.raises(BadRecipeError, match=says):
        Recipe(**numbers)  # type: ignore[arg-type]


@pytest.mark.parametrize(("side", "says"), [(32, "moved by 16 at most"), (9, "by 4 at most"), (None, "takes none")])
def test_a_shift_that_leaves_little_of_a_picture_is_refused(side: int | None, says: str) -> None:
    with pytest.raises(BadRecipeError, match=says):
        Recipe(shift=17).check_pictures(side)


def test_a_shift_that_leaves_half_of_a_picture_and_none_at_all_are_fine() -> None:
    Recipe(shift=16).check_pictures(32)
    Recipe(mirror=True).check_pictures(None)


def test_losses_weigh_more_towards_the_end_unless_somebody_says_otherwise() -> None:
    assert Recipe().weights_for(4) == (0.25, 0.5, 0.75, 1.0)
    assert Recipe(loss_weights=(1, 0, 0.3)).weights_for(3) == (1, 0, 0.3)


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 1.0, 1.0), (0.0, 0.0)])
def test_loss_weights_that_do_not_fit_the_exits_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(BadRecipeError, match="2 outputs"):
        Recipe(loss_weights=weights).weights_for(2)


@given(st.integers(1, 500))
def test_the_learning_rate_rises_to_its_largest_and_falls_to_nearly_nothing(steps: int) -> None:
    rates = [rate_at(step, steps, 0.1) for step in range(steps)]
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.1)
    assert all(rate > 0 for rate in rates)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
