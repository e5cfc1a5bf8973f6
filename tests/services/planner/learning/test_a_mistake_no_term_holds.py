"""Mistakes that are no factor of any device or link, and noise that is not normal: learned around, or left alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from bench.learning.noises import heavy_tailed
from bench.learning.scene import fleet_world, some_slow_links
from bench.learning.strange import some_strange
from services.planner.learning.arms import Arm
from services.planner.learning.learner import Learner
from services.planner.learning.owed import OWED_EVERY
from services.planner.learning.playing import Played, played
from services.planner.learning.ucb import Ucb


class Mute:
    """A policy that never proposes anything."""

    def propose(self, learner: Learner, arms: Sequence[Arm], incumbent: Arm) -> Sequence[Arm]:
        return ()


def lost_to_exact(run: Played) -> float:
    """In decisions of exact's plan."""
    return sum(step.cost / step.exact - 1 for step in run.steps)


@pytest.mark.parametrize("kind", ["small_memory", "slow_bulk", "crowded_switch"])
def test_a_mistake_that_depends_on_the_plan_is_learned_around(kind: str) -> None:
    for seed, world in enumerate(some_strange(kind, 3)):
        run = played(world, Ucb(), decisions=200, seed=seed)
        assert run.regret(150) < 0.5 * run.regret_of_exact()
        assert not any(step.by == "learned" and step.cost > step.exact for step in run.steps)


def test_where_every_whole_model_is_dear_the_bandit_does_not_stop_at_what_it_believes_of_splits() -> None:
    # All devices swap: of whole models it learns that they all compute slowly, and a split is what is quick.
    world = some_strange("small_memories", 5)[4]
    run = played(world, Ucb(), decisions=200, seed=0)
    assert " -> " in run.steps[-1].plan
    assert run.regret(150) < 0.05
    assert run.regret_of_exact() > 0.5


def test_a_policy_that_proposes_nothing_still_comes_to_what_is_really_better() -> None:
    world = some_slow_links(1)[0]
    run = played(world, Mute(), decisions=200, seed=0)
    assert run.regret(150) < 0.05 < run.regret_of_exact()


def test_trials_that_nobody_proposed_become_rare_and_cost_less_than_half_the_budget() -> None:
    run = played(fleet_world(3), Mute(), decisions=300, seed=0)
    tried = [number for number, step in enumerate(run.steps) if step.by == "exploring"]
    assert tried
    assert all(later - before >= OWED_EVERY for before, later in pairwise(tried))
    assert lost_to_exact(run) <= 0.5 * (0.04 * 300 + 1) + 1


@pytest.mark.parametrize("seed", range(4))
def test_under_heavy_tails_and_stalls_nothing_that_is_worse_acts_for_long(seed: int) -> None:
    run = played(fleet_world(seed), Ucb(), decisions=300, seed=seed, noise=heavy_tailed)
    assert sum(step.by == "learned" and step.cost > step.exact for step in run.steps) <= 20
    assert lost_to_exact(run) <= 0.04 * 300 + 1 + 2
