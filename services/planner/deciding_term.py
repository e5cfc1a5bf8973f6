"""The term that decided a plan, found by counterfactuals.

The same policy plans again with unlimited memory, then without pins, then with links and frames that cost nothing. The
first of these worlds in which other devices would serve (or the same in another arrangement) names the term; if none of
them changes the choice, the devices' speeds made it.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from schemas.deployment import Term
from services.planner.cost import Problem
from services.planner.errors import PlanningError
from services.planner.flow import objective
from services.planner.policy import Choice, Policy

SAME: Final = 1e-3
"""Plans whose objectives differ by less than this share are the same to people."""
COUNTERFACTUALS: Final[dict[Literal["memory", "pins", "link"], str]] = {
    "memory": "With unlimited memory",
    "pins": "Without pins",
    "link": "If links and frames cost nothing",
}


def deciding_term(problem: Problem, choice: Choice, policy: Policy) -> tuple[Term, Choice | None]:
    """The constraint or cost without which `policy` would have used other devices, or arranged them otherwise.

    Returns:
        The term, and the plan of the world without it; "compute" or "none" and None when no world has another plan.
    """
    if len(problem.devices) == 1:
        return "none", None
    reached = objective(problem, choice.predicted)
    for term in COUNTERFACTUALS:
        world = problem.without(term)
        if term != "link" and np.array_equal(world.feasible, problem.feasible):
            continue
        other = attempt(policy, world)
        if isinstance(other, PlanningError) or _arrangement(other) == _arrangement(choice):
            continue
        if reached - objective(problem, other.predicted) > SAME * abs(reached):
            return term, other
    return "compute", None


def attempt(policy: Policy, problem: Problem) -> Choice | PlanningError:
    """What a policy plans, or why it cannot."""
    try:
        return policy.plan(problem)
    except PlanningError as error:
        return error


def _arrangement(choice: Choice) -> list[tuple[str, ...]]:
    return sorted(route.devices for route in choice.routes)
