"""Learning by trying: a contextual bandit over the exact planner's best plans (`services.planner.learning.ucb`).

As a policy it plans what exact plans, for that is what is served while nothing else has been better with confidence.
What it learns, it learns while a deployment serves, and the planner moves by it (`services.planner.learning.live`).
"""

from __future__ import annotations

from dataclasses import replace

from services.planner.cost import Problem
from services.planner.learning.arms import check_learnable
from services.planner.policies.exact import Exact
from services.planner.policy import Choice


class Bandit:
    """Exact's plan first, then whatever is measured to be better."""

    name = "bandit"
    citation = (
        "LinUCB (Li et al. 2010) over whole plans, discounted, after ANS / muLinUCB (Zhang et al. 2021); its budget "
        "and safety net are ours"
    )

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            services.planner.errors.PlanningError: no plan keeps the constraints, or nobody sees the objective.
        """
        check_learnable(self.name, problem.deployment.objective)
        choice = Exact().plan(problem)
        note = "exact's plan, until another has been better with confidence (`stageline learn`)"
        return replace(choice, notes=(*choice.notes, note))
