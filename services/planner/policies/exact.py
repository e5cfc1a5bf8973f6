"""The best plan there is, for fleets of up to EXACT_DEVICES devices (how: `services.planner.search`).

Shared limits. The submitter's link caps the sum of all rates: exact. The hub's link prices bytes, which no
separable rate can express: the plan without it is taken if the link carries it, for it is then optimal. Otherwise
the problem is solved again with ever fewer of the large cuts, down to whole copies, the link is given to the
routes that move the fewest bytes first, and the best of these plans is taken; its gap to the bound
`min(rate without the hub's limit, link / least bytes a request moves)` is in the notes.

Beyond EXACT_DEVICES the plan is good, but not proved best (`services.planner.grouping`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from services.planner.cost import Problem
from services.planner.diagnosis import no_plan
from services.planner.evaluate import Line, Placement, choose, in_bound, kind, line_cost, predict
from services.planner.grouping import EXACT_DEVICES, fleet_lines
from services.planner.policy import Choice
from services.planner.search import TIE, pick
from services.planner.subset_dp import fill

_CUT_LADDER: Final = 6
"""In how many steps the large cuts are given up when the hub's link is the limit."""


class Exact:
    """Provably the best plan under the cost model; replicas and the best single device are always candidates."""

    name = "exact"
    citation = "ours; subset DP over devices after PipeEdge (Hu et al. 2022) and EdgeShard (Zhang et al. 2024)"

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            services.planner.errors.PlanningError: no plan keeps the constraints; says which one, and by how much.
        """
        found = fleet_lines(problem)
        if found is None:
            raise no_plan(problem)
        candidates = [found, *whole_copies(problem)]
        notes = []
        if len(problem.devices) > EXACT_DEVICES:
            notes.append(f"{len(problem.devices)} devices: planned in groups of {EXACT_DEVICES}, not proved best")
        bound = _hub_bound_rps(problem, found)
        if bound is not None:
            candidates.extend(_with_smaller_cuts(problem))
        lines = pick(problem, candidates)
        if bound is not None:
            reached = predict(problem, [line_cost(problem, line) for line in lines]).throughput_rps
            notes.append(
                f"the hub's link is the limit: {reached:.1f} requests/s, {100 * (1 - reached / bound):.1f} % below "
                f"the bound of {bound:.1f}"
            )
        choice = choose(problem, lines, kind(lines), notes)
        if choice.predicted.throughput_rps >= problem.submit_rps * (1 - TIE):
            link = f"the submitter's link carries {problem.submit_rps:.1f} requests/s, and is the limit"
            choice = replace(choice, notes=(*choice.notes, link))
        return choice


def whole_copies(problem: Problem) -> Iterator[list[Line]]:
    """Every device that can serve the whole model alone, one plan each; then all of them as replicas."""
    last = len(problem.positions) - 1
    alone: list[Line] = [(Placement(device, 0, last),) for device in range(len(problem.devices))]
    fit = [line for line in alone if in_bound(problem, line_cost(problem, line))]
    yield from ([line] for line in fit)
    if len(fit) > 1:
        yield fit


def _hub_bound_rps(problem: Problem, best_without: Sequence[Line]) -> float | None:
    """An upper bound on any plan's rate when the hub's link slows the best one; None when it does not."""
    if problem.hub.hub_mbps is None or problem.deployment.objective != "throughput":
        return None
    costs = [line_cost(problem, line) for line in best_without]
    free = predict(replace(problem, hub=replace(problem.hub, hub_mbps=None)), costs).throughput_rps
    if predict(problem, costs).throughput_rps >= free * (1 - TIE):
        return None
    least_bytes = float(problem.wire_bytes[0]) + _least_sent_bytes(problem)
    return min(free, problem.hub.hub_mbps * 1e6 / 8 / max(least_bytes, 1.0))


def _least_sent_bytes(problem: Problem) -> float:
    """No route's devices send less than this per request."""
    if len(problem.devices) > EXACT_DEVICES:
        return float(problem.wire_bytes[-1])
    sent = np.where(problem.feasible, problem.wire_bytes, np.inf)
    return float(fill(sent, np.add)[:, -1].min())


def _with_smaller_cuts(problem: Problem) -> Iterator[Sequence[Line]]:
    inner = problem.wire_bytes[1:-1]
    for share in np.linspace(1, 0, _CUT_LADDER + 1)[1:]:
        if not len(inner):
            return
        small = np.concatenate([[True], inner <= np.quantile(inner, share), [True]])
        lines = fleet_lines(problem.allowing(small[:, None] & small))
        if lines is not None:
            yield lines
