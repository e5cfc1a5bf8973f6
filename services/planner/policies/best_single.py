"""The whole model on the one device that serves the objective best: what every split has to beat."""

from __future__ import annotations

from services.planner.cost import Problem
from services.planner.diagnosis import why_not
from services.planner.errors import InfeasibleError
from services.planner.evaluate import Placement, choose, in_bound, line_cost
from services.planner.policy import Choice
from services.planner.search import pick


class BestSingle:
    """No distribution at all."""

    name = "best-single"
    citation = "baseline"

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            InfeasibleError: no device can serve the whole model; says why for each.
        """
        alone = [Placement(device, 0, len(problem.positions) - 1) for device in range(len(problem.devices))]
        fit = [[(stage,)] for stage in alone if in_bound(problem, line_cost(problem, (stage,)))]
        if not fit:
            raise InfeasibleError(
                "no single device can serve the whole model: "
                + "; ".join(why_not(problem, stage) or "too slow for the latency bound" for stage in alone)
            )
        return choose(problem, pick(problem, fit), "one device")
