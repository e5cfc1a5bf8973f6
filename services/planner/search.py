"""The best routes over a small fleet, exactly: which devices, in which order, cut where.

Latency, energy and cost(w) are sums over the stages of one route: one subset DP finds the best. Throughput is the
sum of the rates of routes that partition the fleet: a subset DP gives the least bottleneck of every set of devices
(`services.planner.bounded` keeps the latency bound), `services.planner.partition` the best partition into sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from services.planner.bounded import BoundedRates
from services.planner.cost import Floats, Indices, Problem
from services.planner.flow import objective, predict
from services.planner.line_cost import Line, Placement, line_cost
from services.planner.partition import best_partitions, parts
from services.planner.subset_dp import bit_counts, fill, members, trace

TIE: Final = 1e-9
"""Plans whose objectives differ by less than this share are equally good."""
_TIED_SETS_MAX: Final = 16


def pick(problem: Problem, candidates: Iterable[Sequence[Line]]) -> Sequence[Line]:
    """The best of some feasible plans; of equally good ones that with fewer devices, less latency, fewer bytes."""
    ranked = []
    for number, lines in enumerate(candidates):
        costs = [line_cost(problem, line) for line in lines]
        predicted = predict(problem, costs)
        moved = sum(cost.moved_bytes for cost in costs) / len(costs)
        ranked.append((objective(problem, predicted), sum(map(len, lines)), predicted.latency_ms, moved, number, lines))
    best = min(entry[0] for entry in ranked)
    return min(entry[1:] for entry in ranked if entry[0] <= best + TIE * abs(best))[-1]


def best_lines(problem: Problem) -> Sequence[Line] | None:
    """The best plan for the problem's objective, without the hub's limit; None when no plan keeps the constraints."""
    if problem.deployment.objective != "throughput":
        line = best_line(problem)
        return None if line is None else [line]
    rates = _rates(problem)
    sizes = bit_counts(len(problem.devices))
    while True:
        rate = rates.rate
        best = best_partitions(rate)
        target = min(float(best[-1]), problem.submit_rps)
        if target <= 0:
            return None
        enough = np.flatnonzero(best >= target * (1 - TIE))
        fewest = enough[sizes[enough] == sizes[enough].min()][:_TIED_SETS_MAX]
        plans = [parts(best, rate, int(subset)) for subset in fewest]
        unsettled = [route for plan in plans for route in plan if rates.narrow(route)]
        if not unsettled:
            return pick(problem, [[_settled_line(problem, rates, route) for route in plan] for plan in plans])


def best_line(problem: Problem, *, stages_min: int = 1) -> Line | None:
    """The best single route of at least so many stages; under throughput the one with the least bottleneck."""
    sizes = bit_counts(len(problem.devices))
    if problem.deployment.objective != "throughput":
        cost = stage_cost(problem)
        table = fill(cost, np.add)
        subset = _least(table[:, -1], sizes, stages_min)
        return None if subset is None else trace(table, cost, np.add, subset)
    rates = _rates(problem)
    while True:
        subset = _least(1 / np.maximum(rates.rate, 1e-300), sizes, stages_min)
        if subset is None or rates.rate[subset] == 0:
            return None
        if not rates.narrow(subset):
            return _settled_line(problem, rates, subset)


def quickest_line(problem: Problem) -> Line | None:
    """The route with the least latency, whatever the objective and the latency bound."""
    table = fill(problem.latency_ms, np.add)
    subset = _least(table[:, -1], bit_counts(len(problem.devices)), 1)
    return None if subset is None else trace(table, problem.latency_ms, np.add, subset)


def stage_cost(problem: Problem) -> Floats:
    """What each stage adds to the objective, (n, P, P); for latency, energy and cost(w)."""
    deployment = problem.deployment
    if deployment.objective == "latency":
        return problem.latency_ms
    if deployment.objective == "energy":
        return problem.energy_j
    weight = deployment.latency_weight
    with np.errstate(invalid="ignore"):
        mixed = weight * problem.latency_ms / 1e3 + (1 - weight) * problem.energy_j
    return np.where(problem.feasible, mixed, np.inf)


def chain(problem: Problem, order: Sequence[int]) -> Line | None:
    """A good route that visits devices in the order given and may skip any; O(n P^2), so for fleets of any size."""
    throughput = problem.deployment.objective == "throughput"
    cost = problem.bottleneck_ms if throughput else stage_cost(problem)
    line = chain_line(cost[np.asarray(order)], np.maximum if throughput else np.add)
    return None if line is None else tuple(stage._replace(device=order[stage.device]) for stage in line)


def chain_line(cost: Floats, combine: np.ufunc) -> Line | None:
    """The cheapest route that visits devices in the order of `cost`, (n, P, P), and may skip any; None without one."""
    reached = np.full(cost.shape[1], np.inf)
    reached[0] = 0.0
    steps = [reached]
    for added in cost:
        reached = np.minimum(reached, combine(reached[:, None], added).min(axis=0))
        steps.append(reached)
    if not np.isfinite(reached[-1]):
        return None
    line: list[Placement] = []
    last = len(reached) - 1
    for number in range(len(cost), 0, -1):
        if steps[number][last] < steps[number - 1][last]:
            first = int(combine(steps[number - 1], cost[number - 1, :, last]).argmin())
            line.append(Placement(number - 1, first, last))
            last = first
    return tuple(reversed(line))


def _rates(problem: Problem) -> BoundedRates:
    return BoundedRates(problem, fill(problem.bottleneck_ms, np.maximum)[:, -1])


def _least(value: Floats, sizes: Indices, stages_min: int) -> int | None:
    """The set with the least value, with the fewest devices among equals; None when all are infinite."""
    wanted = np.where(sizes >= stages_min, value, np.inf)
    best = float(wanted.min())
    if not np.isfinite(best):
        return None
    tied = np.flatnonzero(wanted <= best + TIE * abs(best))
    return int(tied[sizes[tied].argmin()])


def _settled_line(problem: Problem, rates: BoundedRates, subset: int) -> Line:
    """Of the fastest pipelines over exactly these devices, the one with the least latency."""
    devices = members(subset)
    fast_enough = problem.bottleneck_ms[devices] <= rates.threshold_ms(subset)
    cost = np.where(fast_enough, problem.latency_ms[devices], np.inf)
    line = trace(fill(cost, np.add), cost, np.add, (1 << len(devices)) - 1)
    return tuple(stage._replace(device=devices[stage.device]) for stage in line)
