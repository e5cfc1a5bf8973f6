"""A whole copy on every device that can hold one: requests shared out by speed, or in turn."""

from __future__ import annotations

from services.planner.complete import choose
from services.planner.cost import Problem
from services.planner.errors import InfeasibleError
from services.planner.line_cost import Line
from services.planner.policy import Choice
from services.planner.whole_copies import no_copy, whole_copies


class Replicas:
    """Data parallel: no activation ever crosses the network. Every device gets the share it can serve."""

    name = "replicas"
    citation = "baseline"

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            InfeasibleError: no device can serve the whole model; says why for each.
        """
        fit, left_out = copies(problem)
        return choose(problem, fit, "replicas", left_out)


class RoundRobin:
    """Every copy gets the same number of requests, so the slowest sets the pace of all."""

    name = "round-robin"
    citation = "baseline"

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            InfeasibleError: no device can serve the whole model; says why for each.
        """
        fit, left_out = copies(problem)
        return choose(problem, fit, "replicas in turn", left_out, shares=[1.0] * len(fit))


def copies(problem: Problem) -> tuple[list[Line], list[str]]:
    """One-stage routes of every device that can serve the whole model, and why the others cannot.

    Raises:
        InfeasibleError: none can; says why for each.
    """
    fit = whole_copies(problem)
    if not fit:
        raise InfeasibleError(f"no device can serve a whole copy: {'; '.join(no_copy(problem).values())}")
    return fit, [f"{name} holds no copy: {reason}" for name, reason in no_copy(problem).items()]
