"""The whole model on one device: where that can be served, it is what every split has to beat."""

from __future__ import annotations

from services.planner.cost import Problem
from services.planner.diagnosis import why_not
from services.planner.line_cost import Line, Placement, in_bound, line_cost


def whole_copies(problem: Problem) -> list[Line]:
    """A route of one stage for each device that can serve the whole model: memory, pins, links, latency bound."""
    return [(stage,) for stage in _everywhere(problem) if _serves(problem, stage)]


def no_copy(problem: Problem) -> dict[str, str]:
    """Why each of the other devices can not, by name."""
    return {
        name: why_not(problem, stage) or f"{name} is too slow for the latency bound"
        for stage in _everywhere(problem)
        if not _serves(problem, stage)
        for name in [problem.devices[stage.device].name]
    }


def _everywhere(problem: Problem) -> list[Placement]:
    return [Placement(device, 0, len(problem.positions) - 1) for device in range(len(problem.devices))]


def _serves(problem: Problem, stage: Placement) -> bool:
    return in_bound(problem, line_cost(problem, (stage,)))
