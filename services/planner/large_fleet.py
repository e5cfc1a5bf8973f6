"""Plans for fleets of any size: exact while every set of devices can be looked at, then routes of neighbours.

Beyond that, a plan for throughput is made in two steps. Devices are lined up by speed, so that neighbours (equal
devices first of all) make balanced pipelines, and the line is cut into the best windows (`services.planner.windows`).
Then a local search moves devices within bands of the line, and keeps in every band what serves more. Whatever needs
one route only (latency, energy, cost; pins, for all routes would have to visit the pinned device) is planned by
`services.planner.one_route`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from schemas.plan import ROUTE_STAGES
from services.planner.cost import Floats, Indices, Problem
from services.planner.line_cost import Line, in_bound, line_cost
from services.planner.one_route import EXACT_DEVICES, one_route
from services.planner.search import best_lines, pick
from services.planner.windows import PACES, best_windows, window_bottlenecks, window_line

_BAND: Final = 2
"""Longest windows that a band holds; within it, devices change places."""
_SEARCHED: Final = 3000
"""Devices that the local search lines up anew, all rounds together: small fleets get many rounds, large ones a few."""
_ROUNDS_MAX: Final = 40
_PARTS: Final = 4
"""Of a fleet ordered by speed, each of which gives a route under a latency bound a device, if it can."""
_SEED: Final = 0
"""Of the local search: the same problem always gets the same plan."""


def fleet_lines(problem: Problem) -> Sequence[Line] | None:
    """The best plan found without the hub's limit; None when none keeps the constraints."""
    return best_lines(problem) if len(problem.devices) <= EXACT_DEVICES else large_fleet_lines(problem)


def large_fleet_lines(problem: Problem) -> Sequence[Line] | None:
    """A good plan for any number of devices, without the hub's limit; None when none was found."""
    deployment = problem.deployment
    if deployment.objective == "throughput" and not deployment.pins:
        lines = neighbours(problem)
        if lines:
            return pick(problem, _enough(problem, lines))
    line = one_route(problem)
    return None if line is None else [line]


def neighbours(problem: Problem) -> list[Line]:
    """Routes for throughput, each over devices that are neighbours in some order; empty when none was found."""
    order = np.argsort(problem.compute_ms[:, 0, -1], kind="stable")
    longest = _longest(problem, order)
    bottlenecks = window_bottlenecks(problem, order, longest)
    if problem.deployment.latency_bound_ms is not None:
        # Slow devices keep a latency bound beside fast ones only.
        mixed = _mixed(order)
        among_mixed = window_bottlenecks(problem, mixed, longest)
        if best_windows(among_mixed)[0] > best_windows(bottlenecks)[0]:
            order, bottlenecks = mixed, among_mixed
    order, bottlenecks = _improved(problem, order, bottlenecks)
    lines = [
        window_line(problem, order[start : start + length], float(bottlenecks[start, length]))
        for start, length in best_windows(bottlenecks)[1]
    ]
    return [line for line in lines if in_bound(problem, line_cost(problem, line))]


def _mixed(order: Indices) -> Indices:
    """One device of each part of the line, fast to slow, after the other; every other part is turned round."""
    parts = [part[::-1] if number % 2 else part for number, part in enumerate(np.array_split(order, _PARTS))]
    return np.array([part[place] for place in range(len(parts[0])) for part in parts if place < len(part)])


def _improved(problem: Problem, order: Indices, bottlenecks: Floats) -> tuple[Indices, Floats]:
    """The order after local search, and its windows: every band is shuffled, or two of its devices change places."""
    effort = 1 if problem.deployment.latency_bound_ms is None else 1 + PACES
    rounds = min(_ROUNDS_MAX, _SEARCHED // (2 * effort * len(order)))
    if rounds == 0:
        return order, bottlenecks
    draw = np.random.default_rng(_SEED)
    longest = bottlenecks.shape[1] - 1
    for shifted in (False, True):
        bands = list(_bands(len(order), _BAND * longest, shifted=shifted))
        totals = [best_windows(bottlenecks[band])[0] for band in bands]
        for number in range(rounds):
            other = order.copy()
            for band in bands:
                if number % 2:
                    places = draw.integers(band.start, band.stop, size=2)
                    other[places] = other[places[::-1]]
                else:
                    draw.shuffle(other[band])
            others = window_bottlenecks(problem, other, longest)
            for place, band in enumerate(bands):
                total = best_windows(others[band])[0]
                if total > totals[place]:
                    order[band], totals[place] = other[band], total
        bottlenecks = window_bottlenecks(problem, order, longest)
    return order, bottlenecks


def _bands(devices: int, size: int, *, shifted: bool) -> Iterator[slice]:
    for start in range(-(size // 2) if shifted else 0, devices, size):
        yield slice(max(0, start), min(devices, start + size))


def _longest(problem: Problem, order: Indices) -> int:
    """Devices that windows should hold: somewhat more than each needs to serve at all, for better balance."""
    limit = min(len(order), len(problem.positions) - 1, ROUTE_STAGES)
    longest = 1
    while longest < limit:
        ends = window_bottlenecks(problem, order, longest, bounded=False)[: len(order) - longest + 1, longest]
        if np.isfinite(ends).all():
            break
        longest *= 2
    bounded = problem.deployment.latency_bound_ms is not None
    return min(max(longest, _PARTS) if bounded else 2 * longest + 2, limit)


def _enough(problem: Problem, lines: Sequence[Line]) -> Iterator[Sequence[Line]]:
    """All routes, and the fastest of them that use the submitter's link up."""
    yield lines
    fastest = sorted(lines, key=lambda line: line_cost(problem, line).bottleneck_ms)
    rates = np.cumsum([line_cost(problem, line).rate_rps for line in fastest])
    count = int(np.searchsorted(rates, problem.submit_rps)) + 1
    if count < len(fastest):
        yield fastest[:count]
