"""The contextual bandit: try the plan that could cost least, given all that is not known (LinUCB, for costs).

    try   argmin_p  predicted_p (1 + theta . x_p) - beta predicted_p sqrt(x_p' A^-1 x_p)

after Li et al. 2010 (LinUCB) and Zhang et al. 2021 (ANS, muLinUCB), who choose a split point so. There the arm that
computes all on the device gives no feedback and must be left by force now and then; here it is exact's plan, and the
force is in the budget (`services.planner.learning.budget`). Theta and A: `services.planner.learning.linear`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.planner.learning.arms import Arm
from services.planner.learning.learner import Learner


@dataclass(frozen=True, slots=True)
class Ucb:
    """How bold."""

    beta: float = 1.0
    """Standard deviations that a plan is taken to be better than its estimate."""
    worth: float = 0.05
    """A plan is worth a trial if it could save this share."""

    def propose(self, learner: Learner, arms: Sequence[Arm], incumbent: Arm) -> Sequence[Arm]:
        """Plans that could be better than the incumbent, the one that could be best first."""
        found = learner.linear.estimates({arm.name: (arm.terms, arm.cost) for arm in arms})
        could = {name: one.mean - self.beta * one.unsure for name, one in found.items()}
        enough = (1 - self.worth) * found[incumbent.name].mean
        worth = [arm for arm in arms if arm is not incumbent and could[arm.name] < enough]
        return sorted(worth, key=lambda arm: (could[arm.name], arm.name))
