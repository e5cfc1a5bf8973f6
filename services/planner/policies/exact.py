"""The best plan there is, for fleets of up to EXACT_DEVICES devices (how: `services.planner.search`).

Beyond EXACT_DEVICES the plan is that of the policy large-fleet: good, but not proved best
(`services.planner.large_fleet`); its gap to the bound is in the notes.
"""

from __future__ import annotations

from services.planner.cost import Problem
from services.planner.finish import finished
from services.planner.large_fleet import fleet_lines
from services.planner.policy import Choice
from services.planner.side_by_side import with_rows_shared


class Exact:
    """Provably the best plan under the cost model; replicas and the best single device are always candidates.

    For latency, a plan with rows side by side is taken where one is found that is quicker: good ones are looked at, not
    all there are.
    """

    name = "exact"
    citation = "ours; subset DP over devices after PipeEdge (Hu et al. 2022) and EdgeShard (Zhang et al. 2024)"

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            services.planner.errors.PlanningError: no plan keeps the constraints; says which one, and by how much.
        """
        return with_rows_shared(problem, finished(problem, fleet_lines))
