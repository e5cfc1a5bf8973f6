"""The model in equal parts, one per device: what people try first, and what unequal devices and links punish."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from services.planner.complete import choose
from services.planner.cost import Problem
from services.planner.diagnosis import why_not
from services.planner.errors import InfeasibleError
from services.planner.line_cost import Placement, in_bound, line_cost
from services.planner.policy import Choice


class EvenSplit:
    """Equal multiply-accumulates per device, in the order the devices are known; blind to speed, links and memory."""

    name = "even-split"
    citation = "baseline"

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            InfeasibleError: a part does not fit its device; says which and why.
        """
        borders = even_borders(problem, len(problem.devices))
        line = tuple(Placement(device, first, last) for device, (first, last) in enumerate(pairwise(borders)))
        reasons = [reason for stage in line if (reason := why_not(problem, stage))]
        if reasons:
            raise InfeasibleError(f"equal parts do not fit: {'; '.join(reasons)}")
        if not in_bound(problem, line_cost(problem, line)):
            raise InfeasibleError("equal parts take longer than the latency bound")
        return choose(problem, [line], "even split")


def even_borders(problem: Problem, parts: int) -> list[int]:
    """Cut positions nearest to equal shares of the work, both ends included; fewer parts if there are too few cuts."""
    work = np.cumsum([0, *(block.macs for block in problem.card.blocks)])[problem.positions].astype(np.float64)
    if work[-1] == 0:
        work = problem.positions.astype(np.float64)
    last = len(work) - 1
    borders = [0]
    for part in range(1, min(parts, last)):
        nearest = int(np.abs(work - work[-1] * part / parts).argmin())
        # Every part keeps at least one block, also where one block holds most of the work.
        borders.append(min(max(nearest, borders[-1] + 1), last - (min(parts, last) - part)))
    return [*borders, last]
