"""A good plan for any number of devices in a second, and how far it is from all devices computing all the time."""

from __future__ import annotations

from services.planner.cost import Problem
from services.planner.finish import finished
from services.planner.large_fleet import large_fleet_lines
from services.planner.policy import Choice


class LargeFleet:
    """Routes of neighbours in a fleet lined up by speed, then local search; what `exact` does in large fleets.

    It scales with devices, cuts squared and the devices that a route needs. It is not proved best, so the gap to the
    bound `sum_i 1 / T_i` is told.
    """

    name = "large-fleet"
    citation = "ours; pipelines over runs of devices by DP, as in PipeEdge (Hu et al. 2022) for one order"

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            services.planner.errors.PlanningError: no plan keeps the constraints; says which one, and by how much.
        """
        return finished(problem, large_fleet_lines)
