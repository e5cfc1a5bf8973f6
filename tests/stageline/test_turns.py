"""Whose turn it is among weighted routes."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stageline.turns import Turns


def test_turns_follow_the_weights_without_bunching() -> None:
    turns = Turns([0.5, 0.25, 0.25])
    taken = [turns.take([0, 1, 2]) for _ in range(8)]
    assert Counter(taken) == {0: 4, 1: 2, 2: 2}
    assert all(taken[i : i + 3].count(0) <= 2 for i in range(6))


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=6), st.integers(1, 200))
def test_every_route_is_within_one_turn_per_rival_of_its_share(weights: list[float], rounds: int) -> None:
    turns = Turns(weights)
    counts = Counter(turns.take(range(len(weights))) for _ in range(rounds))
    for index, weight in enumerate(weights):
        assert abs(counts[index] - rounds * weight / sum(weights)) <= len(weights)


def test_a_route_of_no_weight_serves_only_when_it_is_the_only_one_left() -> None:
    turns = Turns([0.0, 1.0])
    assert [turns.take([0, 1]) for _ in range(50)] == [1] * 50
    assert turns.take([0]) == 0
    assert turns.take([]) is None
