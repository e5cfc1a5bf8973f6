"""Two devices, one after the other: the best pair and border for every cut, by looking at all of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from services.planner.cost import Floats, Problem
from services.planner.line_cost import Line, Placement


def two_stage_lines(problem: Problem, cost: Floats, combine: np.ufunc) -> Iterator[Line]:
    """For every inner cut, the ordered pair of different devices that is best there, if any can be used.

    Under a latency bound (objective throughput), only among pairs that keep it. O(n^2 P).

    Args:
        problem: n devices, P cut positions.
        cost: (n, P, P), inf where a stage is not feasible.
        combine: np.add or np.maximum of the two stages' costs.
    """
    last = len(problem.positions) - 1
    left_ms = _left_ms(problem)
    for cut in range(1, last):
        value = combine.outer(cost[:, 0, cut], cost[:, cut, last])
        if left_ms is not None:
            latency = np.add.outer(problem.latency_ms[:, 0, cut], problem.latency_ms[:, cut, last])
            value = np.where(latency <= left_ms, value, np.inf)
        np.fill_diagonal(value, np.inf)
        first, second = divmod(int(value.argmin()), len(value))
        if np.isfinite(value[first, second]):
            yield Placement(first, 0, cut), Placement(second, cut, last)


def _left_ms(problem: Problem) -> float | None:
    """What the latency bound leaves to the stages."""
    bound = problem.deployment.latency_bound_ms
    if bound is None or problem.deployment.objective != "throughput":
        return None
    return bound * (1 + 1e-12) - problem.submit_ms
