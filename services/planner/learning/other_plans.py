"""Routes that a learner might try beside exact's plan, from several directions; many of them alike.

if a link carried half   what exact would plan if a device's link were half as quick, for each device
the whole model          on every device that can hold it, and on all of them as replicas
without one device       the best plan over all others, for each
over two devices         for every cut the pair that is best there
the next best            without each stage of exact's plan in turn (Lawler 1972, Murty 1968)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from services.planner.complete import lines_of
from services.planner.cost import Problem
from services.planner.errors import InfeasibleError
from services.planner.large_fleet import fleet_lines
from services.planner.line_cost import Line, line_cost
from services.planner.one_route import EXACT_DEVICES, renumbered
from services.planner.policy import Choice
from services.planner.search import best_line, stage_cost
from services.planner.two_stages import two_stage_lines
from services.planner.whole_copies import whole_copies

_WHOLE_MOST: Final = 16
_PAIRS_MOST: Final = 12
_OUT_MOST: Final = 4
"""What is looked at before the best are kept."""


def lines_if_slower(problem: Problem, exact: Choice) -> Iterator[Sequence[Line]]:
    """The best single device; and what exact would plan if one device's link carried half of what it says, for each."""
    whole = whole_copies(problem)
    if whole:
        yield [min(whole, key=lambda line: _alone_ms(problem, line))]
    for device in _devices_that_matter(problem, exact):
        down, up = problem.down_ms[device][:, None], problem.up_ms[device][None, :]
        latency, bottleneck = problem.latency_ms.copy(), problem.bottleneck_ms.copy()
        latency[device] += down + up
        bottleneck[device] = np.maximum(bottleneck[device], 2 * np.maximum(down, up))
        lines = fleet_lines(replace(problem, latency_ms=latency, bottleneck_ms=bottleneck))
        if lines:
            yield lines


def other_lines(problem: Problem, exact: Choice) -> Iterator[Sequence[Line]]:
    """Every kind of other plan, each several times perhaps."""
    whole = whole_copies(problem)
    yield from ([line] for line in whole[:_WHOLE_MOST])
    if len(whole) > 1 and problem.deployment.objective == "throughput":
        yield whole
    yield from _without_one(problem, exact)
    throughput = problem.deployment.objective == "throughput"
    cost, combine = (problem.bottleneck_ms, np.maximum) if throughput else (stage_cost(problem), np.add)
    pairs = sorted(two_stage_lines(problem, cost, combine), key=lambda line: _alone_ms(problem, line))
    yield from ([line] for line in pairs[:_PAIRS_MOST])
    yield from _next_best(problem, exact)


def _alone_ms(problem: Problem, line: Line) -> float:
    found = line_cost(problem, line)
    return found.bottleneck_ms if problem.deployment.objective == "throughput" else found.latency_ms


def _without_one(problem: Problem, exact: Choice) -> Iterator[Sequence[Line]]:
    """The best plan over all devices but one; in a large fleet, over all but one of those that matter most."""
    fleet = range(len(problem.devices))
    for out in _devices_that_matter(problem, exact) if len(fleet) > 1 else ():
        group = [index for index in fleet if index != out]
        lines = fleet_lines(problem.only(group))
        if lines:
            yield [renumbered(line, group) for line in lines]


def _next_best(problem: Problem, exact: Choice) -> Iterator[Sequence[Line]]:
    """Of one route: the best that lacks one of its stages, for each; the second best of all is among them."""
    if len(exact.routes) != 1 or exact.routes[0].side_by_side or len(problem.devices) > EXACT_DEVICES:
        return
    try:
        (line,) = lines_of(problem, exact.routes)
    except InfeasibleError:
        return
    for stage in line:
        others = np.ones_like(problem.feasible)
        others[stage] = False
        other = best_line(problem.allowing(others))
        if other is not None:
            yield [other]


def _devices_that_matter(problem: Problem, exact: Choice) -> list[int]:
    """All of them; in a large fleet, some that exact's plan uses."""
    fleet = range(len(problem.devices))
    if len(fleet) <= EXACT_DEVICES:
        return list(fleet)
    used = {device for route in exact.routes for device in route.devices}
    return [index for index in fleet if problem.devices[index].name in used][:_OUT_MOST]
