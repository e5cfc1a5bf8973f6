"""Learning beforehand: a small network that was trained in made-up worlds to decide which plan deserves a trial.

As a policy it plans what exact plans, for that is what is served until a plan that it proposes has been better with
confidence (`services.planner.learning.live`). With a trained actor at hand it plans what that would try first.
"""

from __future__ import annotations

from dataclasses import replace

from services.planner.cost import Problem
from services.planner.learning.actor import Actor
from services.planner.learning.arms import arms_of, check_learnable
from services.planner.learning.learner import Learner
from services.planner.policies.exact import Exact
from services.planner.policy import Choice


class Ppo:
    """Exact's plan first, then what was trained proposes others.

    Args:
        actor: to plan by it on paper; None: as it begins live.
    """

    name = "ppo"
    citation = (
        "proximal policy optimisation (Schulman et al. 2017) over whole plans, as Electronics 2025, 14, 1647 uses it "
        "for splits; its environment and safety net are ours"
    )

    def __init__(self, actor: Actor | None = None) -> None:
        self._actor = actor

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            services.planner.errors.PlanningError: no plan keeps the constraints, or nobody sees the objective.
        """
        check_learnable(self.name, problem.deployment.objective)
        exact = Exact().plan(problem)
        if self._actor is None:
            note = "exact's plan, until one that is proposed has been better with confidence (`stageline learn`)"
            return replace(exact, notes=(*exact.notes, note))
        arms = arms_of(problem, exact)
        proposed = self._actor.propose(Learner(), arms, arms[0])
        return proposed[0].choice if proposed else exact
