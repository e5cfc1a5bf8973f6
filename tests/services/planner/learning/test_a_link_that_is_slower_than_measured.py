"""A link is twice as slow as the cost model believes: learned around, within a budget, with a way back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.learning.scene import fleet_world, some_slow_links
from schemas.plan import Objective
from services.planner.learning.playing import Played, played
from services.planner.learning.ucb import Ucb
from services.planner.learning.world import Off

WRONG = some_slow_links(5)
SEEDS = range(5)


@pytest.fixture(scope="module")
def learned() -> list[Played]:
    return [played(world, Ucb(), decisions=200, seed=seed) for seed, world in enumerate(WRONG)]


def test_within_two_hundred_decisions_the_regret_falls_below_five_percent(learned: list[Played]) -> None:
    assert [round(run.regret(150, 200), 3) for run in learned if run.regret(150, 200) >= 0.05] == []


def test_exact_without_learning_stays_worse(learned: list[Played]) -> None:
    for run in learned:
        assert run.regret_of_exact() >= 0.1
        assert run.regret() < run.regret_of_exact()
        assert run.steps[-1].cost < run.steps[-1].exact


@pytest.mark.parametrize("devices", [2, 4])
def test_fleets_of_other_sizes_learn_too(devices: int) -> None:
    (world,) = some_slow_links(1, devices=devices)
    run = played(world, Ucb(), decisions=200, seed=1)
    assert run.regret(150, 200) < 0.05 < run.regret_of_exact()


def test_throughput_is_learned_like_latency() -> None:
    (world,) = some_slow_links(1, objective="throughput")
    run = played(world, Ucb(), decisions=200, seed=1)
    assert run.regret(150, 200) < 0.05 < run.regret_of_exact()


@pytest.mark.parametrize("objective", ["latency", "throughput"])
@pytest.mark.parametrize("seed", SEEDS)
def test_where_exact_is_right_nothing_else_ever_acts_and_trials_cost_no_more_than_the_budget(
    seed: int, objective: Objective
) -> None:
    run = played(fleet_world(seed, objective=objective), Ucb(), decisions=300, seed=seed)
    assert {step.by for step in run.steps} <= {"exact", "exploring"}
    tried = [step for step in run.steps if step.by == "exploring"]
    limits = run.learner.budget.limits
    assert len(tried) <= limits.free + limits.share * len(run.steps)
    extra = [step.cost / step.exact - 1 for step in tried]
    assert sum(extra) <= limits.cost_share * len(run.steps) + limits.cost_free + max(extra, default=0.0)
    assert run.regret(100) < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_a_link_that_recovers_brings_exacts_plan_back(seed: int) -> None:
    wrong = WRONG[seed]
    run = played(wrong, Ucb(), decisions=400, seed=seed, changes={200: replace(wrong, off={})})
    assert run.steps[199].by in ("learned", "exploring", "probing")
    assert run.regret(350, 400) < 0.05


def test_a_plan_that_acts_and_becomes_dear_is_left_at_once() -> None:
    wrong = WRONG[0]
    before = played(wrong, Ucb(), decisions=200, seed=0)
    acting = before.steps[-1].plan
    users = [one.name for one in wrong.facts if one.name in acting]
    worse = replace(wrong, off=dict.fromkeys(users, Off(compute=6.0)))
    run = played(wrong, Ucb(), decisions=230, seed=0, changes={200: worse})
    after = [step.by for step in run.steps[200:]]
    assert "exact" in after[:8]
    assert run.steps[205].plan != acting or run.steps[205].by == "exploring"


def test_the_same_seed_decides_the_same() -> None:
    one, other = (played(WRONG[0], Ucb(), decisions=60, seed=4) for _ in range(2))
    assert one.steps == other.steps
