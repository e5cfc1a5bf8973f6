"""HEFT, heterogeneous earliest finish time (Topcuoglu et al., IEEE TPDS 2002), on a model's blocks.

Rank [P]: `rank_u(b) = mean_d w(b, d) + max over successors s of (mean c(b, s) + rank_u(s))`, blocks in falling order.
Placing [P]: each block in turn goes to the device on which it finishes earliest, given where what it reads is.

[R] Reconstructed: blocks run one after another on a route, so each has one successor, ranks fall along the route, and
what a block reads is what crosses the cut before it. Consecutive blocks on one device are one stage. Moving on costs
the way through the broker (up, two half hops, down, a frame handled at both ends); a block finishes when a request that
comes alone has been through it (`services.planner.block_times`). The answer's way back to the submitter is seen by no
block, as in the paper, where the last task's output goes nowhere. There is never another task to slip in between, so
insertion is void.

A device that the route has left is no candidate again: workers would hold both stages, but the cost model has a device
serve one stage of a route, and would promise a pace it cannot keep. A device whose memory would not hold the longer
stage is no candidate either; nor is one that could not stay until the last block that is pinned on it, and until then
it is not left. HEFT does not look ahead, so it may run out of devices where a plan exists. Whatever the objective, it
minimises the time of one request.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from services.planner.block_times import BlockTimes, block_times
from services.planner.complete import choose, kind
from services.planner.cost import Floats, Problem
from services.planner.diagnosis import line_text, no_plan, too_narrow, why_not
from services.planner.errors import InfeasibleError
from services.planner.line_cost import Line, Placement, in_bound, line_cost
from services.planner.one_route import any_line
from services.planner.policy import Choice

_REASONS_MAX: Final = 4


class Heft:
    """Every block where it finishes earliest, one after another, without looking ahead."""

    name = "heft"
    citation = (
        "Topcuoglu et al., HEFT, IEEE TPDS 2002; reconstructed: blocks in a row, transfers through the broker, no "
        "device visited twice"
    )

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            services.planner.errors.PlanningError: no plan keeps the constraints, or HEFT ran out of devices.
        """
        try:
            line = earliest_finish(problem)
        except InfeasibleError:
            if any_line(problem) is None:
                raise no_plan(problem) from None
            raise
        cost = line_cost(problem, line)
        if not in_bound(problem, cost):
            found = f"{line_text(problem, line)}, which takes {cost.latency_ms:.1f} ms"
            raise too_narrow(problem, f"what HEFT finds, {found}")
        objective = problem.deployment.objective
        notes = [] if objective == "latency" else [f"HEFT minimises latency, whatever the {objective}"]
        return choose(problem, [line], kind([line]), notes)


def upward_ranks(compute_ms: Floats, transfer_ms: Floats) -> Floats:
    """How long it is from the start of each block to the end of the last, at mean speeds.

    Args:
        compute_ms: (n, B) block times per device.
        transfer_ms: (n, B-1) time of each inner cut over each device's way, both directions.

    Returns:
        (B,) ms, never rising.
    """
    own = compute_ms.mean(axis=0)
    onward = np.append(transfer_ms.mean(axis=0), 0.0)
    ranks: Floats = np.cumsum((own + onward)[::-1])[::-1]
    return ranks


def earliest_finish(problem: Problem) -> Line:
    """Place the blocks one by one, highest rank first.

    Raises:
        InfeasibleError: a block fits no device that is left.
    """
    times = block_times(problem)
    until = [_held_until(problem, device) for device in range(len(problem.devices))]
    left = set(range(len(problem.devices)))
    line: list[Placement] = []
    finished_ms = 0.0
    for block in by_rank(times):
        choices = []
        arrived_ms = finished_ms
        if line:
            staying = line[-1]._replace(last=block + 1)
            if problem.feasible[staying]:
                choices.append((finished_ms + float(times.block_ms[staying.device, block]), -1))
            arrived_ms += float(times.depart_ms[staying.device, block])
        if not line or until[line[-1].device] <= block:
            done_ms = arrived_ms + times.arrive_ms[:, block] + times.block_ms[:, block]
            choices.extend(
                (float(done_ms[device]), device)
                for device in left
                if problem.feasible[device, block, max(block + 1, until[device])]
            )
        if not choices:
            raise _out_of_devices(problem, line, block, until)
        finished_ms, device = min(choices)
        if device < 0:
            line[-1] = line[-1]._replace(last=block + 1)
        else:
            line.append(Placement(device, block, block + 1))
            left.remove(device)
    return tuple(line)


def by_rank(times: BlockTimes) -> list[int]:
    """Blocks between cut positions, highest upward rank first."""
    moving = times.arrive_ms[:, 1:-1] + times.depart_ms[:, 1:-1]
    # A link that carries nothing says nothing about the others.
    ranks = upward_ranks(times.block_ms, np.where(np.isfinite(moving), moving, 0.0))
    return [int(block) for block in np.argsort(-ranks, kind="stable")]


def _held_until(problem: Problem, device: int) -> int:
    """Position after the last block that is pinned on a device; 0 when none is."""
    name = problem.devices[device].name
    ends = [pin.last for pin in problem.deployment.pins if pin.device == name]
    return int(np.searchsorted(problem.positions, max(ends))) if ends else 0


def _out_of_devices(problem: Problem, line: list[Placement], block: int, until: list[int]) -> InfeasibleError:
    visited = {stage.device for stage in line}
    tried = [
        *(stage._replace(last=block + 1) for stage in line[-1:]),
        *(
            Placement(device, block, max(block + 1, until[device]))
            for device in range(len(problem.devices))
            if device not in visited
        ),
    ]
    reasons = [reason for stage in tried if (reason := why_not(problem, stage))]
    more = f"; and {len(reasons) - _REASONS_MAX} more" if len(reasons) > _REASONS_MAX else ""
    so_far = f"after {line_text(problem, tuple(line))}" if line else "at the first block"
    return InfeasibleError(
        f"HEFT, which does not look ahead, ran out of devices {so_far}: {'; '.join(reasons[:_REASONS_MAX])}{more}. "
        "Use --policy exact"
    )
