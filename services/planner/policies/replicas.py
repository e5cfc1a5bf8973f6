"""A whole copy on every device that can hold one: requests shared out by speed, or in turn."""

from __future__ import annotations

from services.planner.cost import Problem
from services.planner.diagnosis import why_not
from services.planner.errors import InfeasibleError
from services.planner.evaluate import Line, Placement, choose, in_bound, line_cost
from services.planner.policy import Choice


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
    alone = [Placement(device, 0, len(problem.positions) - 1) for device in range(len(problem.devices))]
    fit: list[Line] = [(stage,) for stage in alone if in_bound(problem, line_cost(problem, (stage,)))]
    if not fit:
        raise InfeasibleError(
            "no device can serve a whole copy: "
            + "; ".join(why_not(problem, stage) or "too slow for the latency bound" for stage in alone)
        )
    left_out = [
        f"{problem.devices[stage.device].name} holds no copy: {why_not(problem, stage) or 'over the latency bound'}"
        for stage in alone
        if (stage,) not in fit
    ]
    return fit, left_out
