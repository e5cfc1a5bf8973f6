"""The bench of learning policies: its worlds are what they say, and its figures add up."""

from __future__ import annotations

from dataclasses import replace

from bench.learning.regrets import BUCKET, DECISIONS, SETTLED, Regrets, regrets
from bench.learning.scene import MATTERS, TWICE, fleet_world, some_slow_links
from bench.learning.speed import FLEETS, decision_times
from services.planner.learning.playing import played
from services.planner.learning.ucb import Ucb


def test_in_every_world_one_link_is_twice_as_slow_and_that_matters() -> None:
    worlds = some_slow_links(3)
    for world in worlds:
        assert list(world.off.values()) == [TWICE]
        assert world.true_cost(world.arms()[0]) >= (1 + MATTERS) * world.best_cost
    assert [one.off for one in some_slow_links(3)] == [one.off for one in worlds]


def test_what_is_believed_is_what_is_so_where_nothing_is_wrong() -> None:
    world = fleet_world(4)
    exact = world.arms()[0]
    assert world.true_cost(exact) == exact.cost == world.best_cost


def test_regrets_are_of_all_worlds_and_noises() -> None:
    [found] = regrets(some_slow_links(2), {"bandit": Ucb()}, noises=2, tell=lambda _what, _share: None)
    data = found.as_data()
    assert (data["policy"], data["runs"], data["below_5_percent"]) == ("bandit", 4, 4)
    assert data["regret_settled"] <= data["regret_settled_worst"] < 0.05 < data["regret_of_exact"]
    assert [first for first, _ in data["curve"]] == list(range(BUCKET, DECISIONS + 1, BUCKET))
    assert data["worse_than_exact"] == 0


def test_a_run_that_ends_above_five_percent_is_counted_as_one() -> None:
    good = played(fleet_world(4), Ucb(), decisions=DECISIONS, seed=0)
    late = tuple(replace(step, cost=1.2 * step.best) for step in good.steps[-SETTLED // 2 :])
    data = Regrets("made-up", (good, replace(good, steps=good.steps[: -SETTLED // 2] + late))).as_data()
    assert (data["runs"], data["below_5_percent"]) == (2, 1)
    assert data["regret_settled_worst"] > 0.05


def test_decisions_are_timed_for_fleets_of_several_sizes() -> None:
    rows = decision_times({"bandit": Ucb()}, rounds=1)
    assert [row["devices"] for row in rows] == list(FLEETS)
    assert all(row["decide_ms"] > 0 and row["gather_ms"] > 0 for row in rows)
