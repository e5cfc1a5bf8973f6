"""What a planning policy is: a pure function from a problem to a choice of routes, with a name and a source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from schemas.plan import ExitRule, Prediction, Route
from services.planner.cost import Problem

LEARNING_POLICIES: Final = ("bandit", "ppo")
"""Which run in shadow beside exact while a deployment serves (`services.planner.learning.live`)."""


@dataclass(frozen=True)
class Choice:
    """What a policy decided: complete routes (weights, windows and predictions filled in) and what it was called."""

    routes: tuple[Route, ...]
    predicted: Prediction
    label: str
    """What kind of plan it is, in words: "one device", "replicas", "pipeline", ..."""
    notes: tuple[str, ...] = ()
    """What a reader of the decision should know: approximations made, bounds, gaps."""
    bound_rps: float | None = None
    """For throughput: all devices computing all the time over free links (`services.planner.bound`)."""

    in_turn: bool = False
    """The routes' weights are the policy's own, to be kept to (`schemas.plan.Plan.in_turn`)."""
    exits: tuple[ExitRule, ...] = ()
    """That are open, as the problem had them."""
    without: Choice | None = None
    """Of a plan with rows side by side: the best one without."""

    def __str__(self) -> str:
        return " | ".join(f"r{i}: {route}" for i, route in enumerate(self.routes))


class Policy(Protocol):
    """Every way of planning, ours and the literature's, so that all can be compared on the same fleet."""

    @property
    def name(self) -> str:
        """As in `stageline deploy --policy NAME`."""

    @property
    def citation(self) -> str:
        """The paper, or "ours"; with what was reconstructed, if anything."""

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            services.planner.errors.PlanningError: there is no plan, or not by this policy; says why.
        """
