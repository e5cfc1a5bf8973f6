"""Deciding again and again in worlds where the cost model is wrong, as a gymnasium environment.

An episode is one deployment in one world: each step serves one of its plans and measures what it costs, with noise. The
observation is what the live planner sees (`services.planner.learning.observation`), the reward what was lost against
the best of the plans, so that a policy learns when a plan deserves a trial, and when to stay.

Needs the extra `learn`; nothing that serves imports this.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import gymnasium
import numpy as np

from schemas.learning import ServedBy
from services.planner.learning.arms import ARMS_MOST, Arm
from services.planner.learning.learner import Learner, Pick
from services.planner.learning.observation import OBSERVED, Floats, observation
from services.planner.learning.world import Off, World, drawn

EPISODE: Final = 40
"""Decisions of an episode: what is learned in the first ten pays for the rest."""
NOISE: Final = 0.06
"""Standard deviation of what a decision measures, relative."""
SWITCH_COST: Final = 0.03
"""Of serving another plan than before, in shares of the best plan's cost: weights are moved, frames drained."""
LOST_MOST: Final = 3.0


class DecidingEnv(gymnasium.Env[Floats, np.int64]):  # type: ignore[misc]  # its types are not followed
    """Observations (OBSERVED,) float32 in -2..2; actions 0..ARMS_MOST-1, of plans that are not there: the incumbent's.

    Args:
        worlds: moments of fleets to begin episodes from.
        centre: what is known of how far off devices are (`services.planner.learning.world.drawn`).
        seed: of the worlds that are drawn; `reset(seed=...)` sets another.
    """

    def __init__(self, worlds: Sequence[World], centre: Mapping[str, Off] | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.observation_space = gymnasium.spaces.Box(-2.0, 2.0, (OBSERVED,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(ARMS_MOST)
        self._worlds = worlds
        self._centre = centre
        self._draw = random.Random(seed)  # noqa: S311  worlds are drawn, not secrets
        self._arms_of: dict[int, tuple[Arm, ...]] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Begin an episode in a world that is drawn."""
        super().reset(seed=seed, options=options)
        if seed is not None:
            self._draw.seed(seed)
        number = self._draw.randrange(len(self._worlds))
        if number not in self._arms_of:
            self._arms_of[number] = self._worlds[number].arms()
        world = drawn(self._worlds[number], self._draw, centre=self._centre)
        costs = [(arm, world.true_cost(arm)) for arm in self._arms_of[number]]
        self._costs = [(arm, cost) for arm, cost in costs if math.isfinite(cost)]
        self._arms = [arm for arm, _ in self._costs]
        self._best = min(cost for _, cost in self._costs)
        self._learner = Learner()
        self._served = 0
        self._step = 0
        return self._seen(), {}

    def step(self, action: np.int64) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Serve a plan for one decision; the regret of it is in the info."""
        incumbent = self._learner.acting(self._arms)
        chosen = int(action) if int(action) < len(self._arms) else self._arms.index(incumbent)
        arm, cost = self._costs[chosen]
        measured = cost * self._draw.lognormvariate(0, NOISE)
        exact = arm is self._arms[0]
        by: ServedBy = "exact" if exact else "learned"
        if arm is not incumbent:
            by = "probing" if exact else "exploring"
        self._learner = self._learner.measured(self._arms, Pick(arm, by), measured)
        regret = min(LOST_MOST, cost / self._best - 1)
        reward = -regret - SWITCH_COST * (chosen != self._served)
        self._served = chosen
        self._step += 1
        return self._seen(), reward, False, self._step >= EPISODE, {"regret": regret}

    def _seen(self) -> Floats:
        seen: Floats = observation(self._learner, self._arms, self._learner.acting(self._arms)).astype(np.float32)
        return seen
