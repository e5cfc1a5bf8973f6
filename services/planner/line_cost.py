"""What one route costs and gives when it has its devices to itself, by the cost model.

Every policy is judged by these sums, and only by them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from services.planner.bound import BOTTLENECK_MIN_MS
from services.planner.cost import Problem


class Placement(NamedTuple):
    """One stage in a problem's own numbers: device index, first cut position, position after the last."""

    device: int
    first: int
    last: int


Line = tuple[Placement, ...]
"""A route in a problem's own numbers."""


@dataclass(frozen=True)
class LineCost:
    """What one route gives when it has its devices to itself."""

    latency_ms: float
    """One request alone, from the submitter and back to it."""
    bottleneck_ms: float
    energy_j: float
    moved_bytes: float
    """Through the hub, each way, per request."""
    largest_bytes: float
    """Of its frames."""
    stages: int
    measured: bool
    """Whether all of its watts were measured, not modelled."""

    @property
    def rate_rps(self) -> float:
        """Requests per second of a full pipeline."""
        return 1e3 / max(self.bottleneck_ms, BOTTLENECK_MIN_MS)


def line_cost(problem: Problem, line: Line) -> LineCost:
    """Add up the stages of one route; inf where a stage is not feasible."""
    return LineCost(
        latency_ms=problem.submit_ms + sum(float(problem.latency_ms[stage]) for stage in line),
        bottleneck_ms=max(float(problem.bottleneck_ms[stage]) for stage in line),
        energy_j=sum(float(problem.energy_j[stage]) for stage in line),
        moved_bytes=float(problem.wire_bytes[0]) + sum(float(problem.crossing_bytes[stage.last]) for stage in line),
        largest_bytes=max(float(problem.wire_bytes[position]) for position in (0, *(stage.last for stage in line))),
        stages=len(line),
        measured=all(problem.devices[stage.device].info.power.method == "measured" for stage in line),
    )


def in_bound(problem: Problem, cost: LineCost) -> bool:
    """Whether a route can be used at all: feasible, and within the latency bound when there is one."""
    bound = problem.deployment.latency_bound_ms
    if bound is None or problem.deployment.objective != "throughput":
        return math.isfinite(cost.latency_ms)
    return cost.latency_ms <= bound * (1 + 1e-11)
