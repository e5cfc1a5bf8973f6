"""A learner at work in a world that is made up: decision after decision, with what each really cost. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType
from typing import Final

from schemas.learning import ServedBy
from services.planner.learning.learner import Learner, Proposer
from services.planner.learning.world import World

NOISE: Final = 0.06
"""Standard deviation of what a decision measures, relative: the mean of some ten answers."""

Noise = Callable[[random.Random], float]
"""How many times what a plan really costs a decision measures, drawn anew each time; above 0."""


def ordinary(draw: random.Random) -> float:
    """Log-normal, NOISE wide."""
    return draw.lognormvariate(0, NOISE)


@dataclass(frozen=True, slots=True)
class Step:
    """One decision."""

    plan: str
    by: ServedBy
    cost: float
    """What the plan really cost, ms,"""
    exact: float
    """what exact's plan would have,"""
    best: float
    """and the best plan of all."""

    @property
    def regret(self) -> float:
        """What was lost, as a share of the best plan's cost."""
        return self.cost / self.best - 1


@dataclass(frozen=True, slots=True)
class Played:
    """All decisions, and what was learned in the end."""

    steps: tuple[Step, ...]
    learner: Learner

    def regret(self, first: int = 0, last: int | None = None) -> float:
        """Mean regret of decisions `[first, last)`."""
        return fmean(step.regret for step in self.steps[first:last])

    def regret_of_exact(self) -> float:
        """What exact without learning would have lost."""
        return fmean(step.exact / step.best - 1 for step in self.steps)


def played(
    world: World,
    proposer: Proposer,
    *,
    decisions: int,
    seed: int,
    noise: Noise = ordinary,
    learner: Learner | None = None,
    changes: Mapping[int, World] = MappingProxyType({}),
) -> Played:
    """Decide again and again.

    Args:
        world: as it is believed to be and as it is; its arms are taken once.
        proposer: the learning policy.
        decisions: how many.
        seed: of the noise.
        noise: of measurements.
        learner: what is known beforehand.
        changes: worlds that take this one's place from a decision on; what is believed stays.
    """
    draw = random.Random(seed)  # noqa: S311  noise, not a secret
    arms = world.arms()
    learner = learner or Learner()
    costs = {arm.name: world.true_cost(arm) for arm in arms}
    steps: list[Step] = []
    for number in range(decisions):
        if number in changes:
            world = changes[number]
            costs = {arm.name: world.true_cost(arm) for arm in arms}
        pick = learner.decide(arms, proposer)
        cost = costs[pick.arm.name]
        steps.append(Step(pick.arm.name, pick.by, cost, costs[arms[0].name], world.best_cost))
        learner = learner.measured(arms, pick, cost * noise(draw))
    return Played(tuple(steps), learner)


def mean_curve(runs: Sequence[Played], every: int) -> list[tuple[int, float]]:
    """Mean regret over runs, in buckets of so many decisions: the first decision after each, and the mean in it."""
    most = min(len(run.steps) for run in runs)
    return [
        (first + every, fmean(run.regret(first, first + every) for run in runs))
        for first in range(0, most - every + 1, every)
    ]
