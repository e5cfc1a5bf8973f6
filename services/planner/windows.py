"""Routes of neighbours: the best way of cutting a fleet, lined up in some order, into routes of adjacent devices.

A window is a run of adjacent devices in that order; its route visits them as they stand, and may pass some over.
`reached[a, j]` is the least bottleneck of running the blocks before cut position j on the devices of the window that
begins at a, and one more device makes it

    reached[a, j] = min(reached[a, j], min over i < j of max(reached[a, i], cost[next device, i, j]))

for all windows at once; which windows make up the largest total rate is then a DP along the order. O(n L P^2) for n
devices, windows of at most L, and P cut positions, so a thousand devices take hundredths of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from services.planner.bound import rates_of
from services.planner.cost import Floats, Indices, Problem
from services.planner.line_cost import Line, in_bound, line_cost
from services.planner.search import chain_line

STAGE_PRICE: Final = 5e-3
"""Share of a route's rate that every stage after the first must be worth: it takes time, and can fail."""
_CHUNK: Final = 64
"""Windows at a time: their intermediate results stay in the cache."""
PACES: Final = 16
"""Bottlenecks that are tried where a latency bound forbids the fastest pipelines."""


class Window(NamedTuple):
    """A route over `order[start : start + length]`."""

    start: int
    length: int


def window_bottlenecks(problem: Problem, order: Indices, longest: int, *, bounded: bool = True) -> Floats:
    """Least bottleneck of every window, (n, longest + 1): place of its first device, length; in ms.

    inf where no route serves or the order ends. If `bounded`, routes keep the latency bound when there is one; then
    bottlenecks are rounded up to one of PACES.
    """
    fastest = _ends(order, longest, np.maximum, lambda devices: problem.bottleneck_ms[devices], problem)
    bound = problem.deployment.latency_bound_ms if bounded else None
    possible = fastest[np.isfinite(fastest)]
    if bound is None or not len(possible):
        return fastest
    left_ms = bound - problem.submit_ms
    within = np.full_like(fastest, np.inf)
    for pace in np.geomspace(possible.min(), possible.max(), PACES)[::-1] * (1 + 1e-9):

        def cost(devices: Indices, pace: float = pace) -> Floats:
            return np.where(problem.bottleneck_ms[devices] <= pace, problem.latency_ms[devices], np.inf)

        within[_ends(order, longest, np.add, cost, problem) <= left_ms] = pace
    alone = problem.latency_ms[order, 0, -1] <= left_ms
    within[:, 1] = np.where(alone, problem.bottleneck_ms[order, 0, -1], np.inf)
    return within


def best_windows(bottleneck_ms: Floats) -> tuple[float, list[Window]]:
    """The disjoint windows with the largest total rate, each stage beyond the first at STAGE_PRICE, and that total."""
    devices, longest = len(bottleneck_ms), bottleneck_ms.shape[1] - 1
    lengths = np.arange(1, longest + 1)
    worth = rates_of(bottleneck_ms[:, 1:]) * (1 - STAGE_PRICE * (lengths - 1))
    best = np.zeros(devices + 1)
    taken = np.zeros(devices + 1, dtype=np.intp)
    for end in range(1, devices + 1):
        starts = end - lengths[:end]
        totals = best[starts] + worth[starts, lengths[:end] - 1]
        length = int(totals.argmax())
        best[end], taken[end] = best[end - 1], 0
        if totals[length] > best[end]:
            best[end], taken[end] = totals[length], length + 1
    windows = []
    end = devices
    while end:
        if taken[end]:
            windows.append(Window(end - int(taken[end]), int(taken[end])))
        end -= max(1, int(taken[end]))
    return float(best[-1]), windows[::-1]


def window_line(problem: Problem, devices: Indices, bottleneck_ms: float) -> Line:
    """Of a window's fastest pipelines that keep the latency bound, the one with the least latency.

    Args:
        problem: what it is for.
        devices: the window's, in order.
        bottleneck_ms: as `window_bottlenecks` gives it, so that there is such a pipeline; where that was rounded up,
            the least one is found by bisection.
    """
    stages_ms = np.unique(problem.bottleneck_ms[devices])
    low, high = 0, int(np.searchsorted(stages_ms, bottleneck_ms * (1 + 1e-12), side="right")) - 1
    best = _quickest(problem, devices, float(stages_ms[high]))
    if best is None:
        raise ValueError(f"no route over devices {devices.tolist()} has a bottleneck of {bottleneck_ms} ms")
    if problem.deployment.latency_bound_ms is not None:
        while low < high:
            middle = (low + high) // 2
            line = _quickest(problem, devices, float(stages_ms[middle]))
            if line is not None and in_bound(problem, line_cost(problem, line)):
                best, high = line, middle
            else:
                low = middle + 1
    return best


def _quickest(problem: Problem, devices: Indices, bottleneck_ms: float) -> Line | None:
    fast_enough = problem.bottleneck_ms[devices] <= bottleneck_ms
    line = chain_line(np.where(fast_enough, problem.latency_ms[devices], np.inf), np.add)
    return None if line is None else tuple(stage._replace(device=int(devices[stage.device])) for stage in line)


def _ends(
    order: Indices, longest: int, combine: np.ufunc, cost: Callable[[Indices], Floats], problem: Problem
) -> Floats:
    """What running the whole model costs every window, (n, longest + 1)."""
    count = len(order)
    ends = np.full((count, longest + 1), np.inf)
    for begin in range(0, count, _CHUNK):
        size = min(_CHUNK, count - begin)
        reached = np.full((size, len(problem.positions)), np.inf)
        reached[:, 0] = 0.0
        for length in range(1, min(longest, count - begin) + 1):
            here = min(size, count - begin - length + 1)
            added = begin + length - 1
            before = reached[:here]
            step = cost(order[added : added + here])
            reached = np.minimum(before, combine(before[:, :, None], step).min(axis=1))
            ends[begin : begin + here, length] = reached[:, -1]
    return ends
