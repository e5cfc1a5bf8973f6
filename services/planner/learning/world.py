"""A world in which the cost model is wrong: what plans really cost there, and which is really the best.

The planner believes `facts`; `off` says how many times longer things really take. Links that are slower than measured
are what experience cannot put right (`services.planner.corrections` follows stages, and nobody times a link under a
plan's own traffic), so they are what learning has to find.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from schemas.deployment import Deployment
from schemas.model import ModelCard
from services.planner.cost import Problem, problem_from
from services.planner.errors import InfeasibleError
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.learning.arms import Arm, arms_of, cost_of
from services.planner.policies.exact import Exact
from services.planner.policy import Policy
from services.planner.shared_choice import truly

_EXACT: Final = Exact()
_SLOW_LINK: Final = 0.35
_SLOW_COMPUTE: Final = 0.15
"""Shares of devices, in worlds that are drawn."""


@dataclass(frozen=True, slots=True)
class Off:
    """How many times longer than believed one device takes."""

    compute: float = 1.0
    up: float = 1.0
    down: float = 1.0


@dataclass(frozen=True)
class World:
    """One deployment on one fleet, as it is believed to be and as it is."""

    card: ModelCard
    wish: Deployment
    facts: tuple[DeviceFacts, ...]
    hub: HubFacts = field(default_factory=HubFacts)
    off: Mapping[str, Off] = field(default_factory=dict)
    """By device; those that are not named are as believed."""

    @cached_property
    def believed(self) -> Problem:
        """What the planner plans with."""
        return problem_from(self.card, self.wish, self.facts, self.hub)

    @cached_property
    def true(self) -> Problem:
        """What is really so."""
        facts = [_really(one, self.off.get(one.name, Off())) for one in self.facts]
        return problem_from(self.card, self.wish, facts, self.hub, keep=self.believed.positions.tolist())

    def arms(self, baseline: Policy = _EXACT) -> tuple[Arm, ...]:
        """What may be served, the baseline's plan first, as believed."""
        return arms_of(self.believed, baseline.plan(self.believed))

    def true_cost(self, arm: Arm) -> float:
        """What a plan really costs, ms; infinite where it cannot really be served."""
        try:
            return cost_of(self.wish.objective, truly(self.true, arm.choice).predicted)
        except InfeasibleError:
            return float("inf")

    @cached_property
    def best_cost(self) -> float:
        """What the plan costs that is really the best of all, ms."""
        return cost_of(self.wish.objective, _EXACT.plan(self.true).predicted)


def drawn(world: World, draw: random.Random, *, centre: Mapping[str, Off] | None = None) -> World:
    """The same world with other mistakes: compute within some percent, and now and then a link far off.

    Args:
        world: what is believed.
        draw: for chance.
        centre: what is known of how far off each device is, e.g. from a recording; nothing is off unless given.
    """
    off = {}
    for one in world.facts:
        known = (centre or {}).get(one.name, Off())
        slow = draw.uniform(1.4, 3.0) if draw.random() < _SLOW_LINK else 1.0
        up, down = draw.choice(((slow, slow), (slow, 1.0), (1.0, slow)))
        wild = draw.uniform(1.2, 2.0) if draw.random() < _SLOW_COMPUTE else 1.0
        off[one.name] = Off(
            known.compute * wild * draw.lognormvariate(0, 0.05),
            known.up * up * draw.lognormvariate(0, 0.05),
            known.down * down * draw.lognormvariate(0, 0.05),
        )
    return replace(world, off=off)


def _really(facts: DeviceFacts, off: Off) -> DeviceFacts:
    link = facts.link.model_copy(
        update={"up_mbps": facts.link.up_mbps / off.up, "down_mbps": facts.link.down_mbps / off.down}
    )
    return replace(facts, link=link, correction=facts.correction * off.compute)
