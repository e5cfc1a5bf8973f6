"""The best single route found in a fleet of any size: exact among a few promising devices, or a chain over them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from services.planner.cost import Floats, Problem
from services.planner.line_cost import Line, in_bound, line_cost
from services.planner.search import best_line, chain, pick, quickest_line, stage_cost

EXACT_DEVICES: Final = 10
"""Up to so many devices every set of them is looked at."""


def one_route(problem: Problem) -> Line | None:
    """A good route for the problem's objective, the best there is up to EXACT_DEVICES; None when none was found."""
    if len(problem.devices) <= EXACT_DEVICES:
        return best_line(problem)
    found = [line for group in promising(problem) if (line := _among(problem, group))]
    found.extend(line for order in _orders(problem) if (line := chain(problem, order)))
    fit = [[line] for line in found if in_bound(problem, line_cost(problem, line))]
    if not fit:
        return None
    (line,) = pick(problem, fit)
    # A chain may have found devices that look unpromising alone: with the promising ones they may do better still.
    together = dict.fromkeys([*(stage.device for stage in line), *next(promising(problem))])
    refined = _among(problem, list(together)[:EXACT_DEVICES]) if len(line) < EXACT_DEVICES else None
    return line if refined is None else pick(problem, [[line], [refined]])[0]


def best_pipeline(problem: Problem, *, stages_min: int = 2) -> Line | None:
    """The best single route of at least so many stages; in a large fleet, over its most promising devices."""
    group = next(promising(problem))
    line = best_line(problem.only(group), stages_min=stages_min)
    return None if line is None else renumbered(line, group)


def any_line(problem: Problem) -> Line | None:
    """Some route that keeps memory, pins and links, a quick one; None when none was found."""
    for group in promising(problem):
        line = quickest_line(problem.only(group))
        if line is not None:
            return renumbered(line, group)
    return next((line for order in _orders(problem) if (line := chain(problem, order))), None)


def promising(problem: Problem) -> Iterator[list[int]]:
    """Devices for an exact search, at most EXACT_DEVICES: those that work best for the objective, then the roomiest.

    Devices with pins come first in both: no route is complete without them.
    """
    fleet = list(range(len(problem.devices)))
    if len(fleet) <= EXACT_DEVICES:
        yield fleet
        return
    pinned = {pin.device for pin in problem.deployment.pins}
    place = [int(device.name not in pinned) for device in problem.devices]
    for rank in (_work_cost(problem), _shortage_bytes(problem)):
        yield sorted(_ordered(place, rank)[:EXACT_DEVICES])


def renumbered(line: Line, group: Sequence[int]) -> Line:
    """A route of `problem.only(group)` in the numbers of the problem."""
    return tuple(stage._replace(device=group[stage.device]) for stage in line)


def _among(problem: Problem, group: Sequence[int]) -> Line | None:
    line = best_line(problem.only(group))
    return None if line is None else renumbered(line, group)


def _work_cost(problem: Problem) -> Floats:
    """What a share of the model costs on each device at least, in the stage that suits it best, (n,)."""
    cost = problem.bottleneck_ms if problem.deployment.objective == "throughput" else stage_cost(problem)
    work = problem.compute_ms[:, 0, :].mean(axis=0)
    share = np.maximum(work - work[:, None], 1e-9 * max(float(work[-1]), 1e-9))
    least: Floats = (cost / share).min(axis=(1, 2))
    return least


def _shortage_bytes(problem: Problem) -> Floats:
    """The less, the more memory a device offers, (n,)."""
    return -np.array([problem.budget_bytes(device) for device in range(len(problem.devices))], dtype=np.float64)


def _orders(problem: Problem) -> Iterator[list[int]]:
    """The roomiest device first, then the fastest first; devices pinned to early blocks before all, to late after."""
    half = len(problem.card.blocks) / 2
    pinned = {pin.device: -1 if pin.first < half else 1 for pin in problem.deployment.pins}
    place = [pinned.get(device.name, 0) for device in problem.devices]
    for rank in (_shortage_bytes(problem), problem.compute_ms[:, 0, -1]):
        yield _ordered(place, rank)


def _ordered(place: Sequence[int], rank: Floats) -> list[int]:
    """Devices by place, within a place by rank."""
    order: list[int] = np.lexsort((rank, np.array(place))).tolist()
    return order
