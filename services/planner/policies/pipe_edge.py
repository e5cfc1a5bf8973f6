"""One pipeline over the best devices in the best order: PipeEdge (Hu et al. 2022), EdgeShard (Zhang et al. 2024).

Throughput [P, PipeEdge and EdgeShard]: the least bottleneck of a pipeline of unequal devices, by a DP over sets,

    h(j, S + u) = min_{i < j} max( h(i, S), comp(i..j, u), comm )

with h(j, S) the least bottleneck of the blocks before j over exactly the devices S. Latency [P, EdgeShard]: the same DP
with sums in place of the maximum. Both are `services.planner.subset_dp`.

Unlike `exact` it knows one pipeline only: no replicas, no two pipelines side by side. That is the published plan space.

[R] Reconstructed: communication goes through the broker (down into a stage, up out of it) instead of from device to
device, so it belongs to the stage and not to the edge between two. Among equally fast pipelines the one with the least
latency is taken, under the latency bound if there is one. Energy and `cost(w)` add up over stages and use the sum form.
A set DP is exponential in devices: beyond EXACT_DEVICES it is given that many promising ones, the quickest for the
objective or, if these cannot hold the model, the roomiest.
"""

from __future__ import annotations

from services.planner.complete import choose, kind
from services.planner.cost import Problem
from services.planner.diagnosis import too_narrow
from services.planner.one_route import EXACT_DEVICES, promising, renumbered
from services.planner.policy import Choice
from services.planner.search import best_line


class PipeEdge:
    """The best single pipeline, of one stage or more."""

    name = "pipe-edge"
    citation = (
        "Hu et al., PipeEdge, DSD 2022, and Zhang et al., EdgeShard, IEEE IoT-J 2024; reconstructed: transfers through "
        "the broker, energy and cost(w) in the sum form"
    )

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            services.planner.errors.PlanningError: no pipeline keeps the constraints; says why.
        """
        fleet = len(problem.devices)
        some = fleet > EXACT_DEVICES
        for group in promising(problem):
            found = best_line(problem.only(group))
            if found is not None:
                line = renumbered(found, group)
                notes = [f"planned with {EXACT_DEVICES} promising ones of {fleet} devices"] if some else []
                return choose(problem, [line], kind([line]), notes)
        raise too_narrow(problem, f"a pipeline of {EXACT_DEVICES} promising devices" if some else "one pipeline")
