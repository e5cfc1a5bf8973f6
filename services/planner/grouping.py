"""Fleets of any size, by exact search over groups of at most EXACT_DEVICES devices.

Up to EXACT_DEVICES there is one group, and what is found is the best there is. Beyond, devices are grouped by speed:
each group is searched exactly, and for throughput all groups work side by side. If no group can hold the model,
stages are laid over the whole fleet in order of memory by a DP that may skip devices. Plain, quick, and unbounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from services.planner.cost import Problem
from services.planner.evaluate import Line, in_bound, line_cost
from services.planner.search import best_line, best_lines, chain, pick, quickest_line

EXACT_DEVICES: Final = 10


def fleet_lines(problem: Problem) -> Sequence[Line] | None:
    """The best plan found without the hub's limit; None when none keeps the constraints."""
    if len(problem.devices) <= EXACT_DEVICES:
        return best_lines(problem)
    solved = []
    for group in groups(problem):
        lines = best_lines(problem.only(group))
        if lines is not None:
            solved.append([_renumbered(line, group) for line in lines])
    if not solved:
        line = chain(problem, memory_order(problem))
        return None if line is None or not in_bound(problem, line_cost(problem, line)) else [line]
    if problem.deployment.objective != "throughput":
        return pick(problem, solved)
    together = [[line for lines in solved[:count] for line in lines] for count in range(1, len(solved) + 1)]
    return pick(problem, together)


def best_pipeline(problem: Problem, *, stages_min: int = 2) -> Line | None:
    """The best single route of at least so many stages; in a large fleet, over its fastest devices."""
    group = next(groups(problem))
    line = best_line(problem.only(group), stages_min=stages_min)
    return None if line is None else _renumbered(line, group)


def any_line(problem: Problem) -> Line | None:
    """Some route that keeps memory, pins and links, a quick one; None when none was found."""
    for group in groups(problem):
        line = quickest_line(problem.only(group))
        if line is not None:
            return _renumbered(line, group)
    return chain(problem, memory_order(problem))


def groups(problem: Problem) -> Iterator[list[int]]:
    """The fleet in groups that can be searched exactly: devices with pins first, then the fastest."""
    pinned = {pin.device for pin in problem.deployment.pins}
    alone = problem.compute_ms[:, 0, -1] + problem.frame_ms[:, 0, -1] + problem.down_ms[:, 0] + problem.up_ms[:, -1]
    fleet = range(len(problem.devices))
    order = sorted(fleet, key=lambda u: (problem.devices[u].name not in pinned, float(alone[u]), u))
    for start in range(0, len(order), EXACT_DEVICES):
        yield order[start : start + EXACT_DEVICES]


def memory_order(problem: Problem) -> list[int]:
    """The device that offers most memory first; devices pinned to early blocks before all, to late ones after."""
    half = len(problem.card.blocks) / 2
    place = {pin.device: -1 if pin.first < half else 1 for pin in problem.deployment.pins}
    fleet = range(len(problem.devices))
    return sorted(fleet, key=lambda u: (place.get(problem.devices[u].name, 0), -problem.budget_bytes(u), u))


def _renumbered(line: Line, group: Sequence[int]) -> Line:
    return tuple(stage._replace(device=group[stage.device]) for stage in line)
