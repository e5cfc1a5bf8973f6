"""Neurosurgeon (Kang et al., ASPLOS 2017): one split between a device and a server, where the sum is least.

For a device that holds the input and a server behind a link of B bytes/s, the split after layer j is the one with

    argmin_j  sum_{i <= j} T_dev(i) + D_j / B + sum_{i > j} T_srv(i)                    [P] for latency
    argmin_j  sum_{i <= j} P_dev(i) T_dev(i) + P_up D_j / B                             [P] for the device's energy

with j = 0 (all on the server) and j = last (all on the device) among the candidates.

[R] Reconstructed for a fleet: which of n devices is "the device" and which "the server" is not given here, so every
ordered pair is tried and the best taken; all-local and all-remote are then the whole model on any one device. Times
come from measured profiles, not from the paper's regression on layer shapes; the way between the two is the one
through the broker. Energy counts both devices, because a fleet pays for both. `cost(w)` adds up over stages as both do,
and is minimised the same way. Throughput is not in the paper: it is planned for latency, which is what would serve.
"""

from __future__ import annotations

import numpy as np

from services.planner.complete import choose, kind
from services.planner.cost import Problem
from services.planner.diagnosis import too_narrow
from services.planner.policy import Choice
from services.planner.search import TIE, stage_cost
from services.planner.two_stages import two_stage_lines
from services.planner.whole_copies import whole_copies


class Neurosurgeon:
    """The best split in two, over all ordered pairs of devices, or no split."""

    name = "neurosurgeon"
    citation = (
        "Kang et al., Neurosurgeon, ASPLOS 2017; reconstructed: the best ordered pair of n devices, energy of both, "
        "throughput planned for latency"
    )

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            services.planner.errors.PlanningError: no device alone and no two devices can serve; says why.
        """
        throughput = problem.deployment.objective == "throughput"
        cost = problem.latency_ms if throughput else stage_cost(problem)
        candidates = [*whole_copies(problem), *two_stage_lines(problem, cost, np.add)]
        if not candidates:
            raise too_narrow(problem, "one device or two in a row")
        values = [sum(float(cost[stage]) for stage in line) for line in candidates]
        least = min(values)
        # Whole models come first, so that of equals the one without a split is taken.
        line = next(line for line, value in zip(candidates, values, strict=True) if value <= least + TIE * abs(least))
        notes = ["Neurosurgeon minimises latency, whatever the throughput"] if throughput else []
        return choose(problem, [line], kind([line]), notes)
