"""What several routes give together: windows, requests per second under shared links, latency and joules of the mix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from schemas.plan import Prediction
from services.planner.bound import BOTTLENECK_MIN_MS
from services.planner.cost import Problem
from services.planner.line_cost import LineCost

WINDOW_MAX: Final = 1024
TOGETHER: Final = 6
"""Frames that a stage takes up and hands on at once where only throughput counts,"""
TOGETHER_BYTES: Final = 6_000_000
"""and their bytes, which wait in a small computer's memory,"""
TOGETHER_MS: Final = 200.0
"""and how long that takes: where each frame is long work, moving it is next to nothing."""


def window(problem: Problem, cost: LineCost) -> int:
    """Requests in flight that suit the objective.

    latency / bottleneck requests fill a pipeline exactly (Little's law). For throughput and energy: that, rounded
    up, and `together` more per stage, so that neither frames handled together nor a hiccup of one stage starve the
    next; fewer where waiting in line would break the latency bound. For latency and cost: no more than can be under
    way without waiting, and at most 2, because real stages vary.
    """
    fill = cost.latency_ms / max(cost.bottleneck_ms, BOTTLENECK_MIN_MS)
    deployment = problem.deployment
    if deployment.objective in ("latency", "cost"):
        return max(1, min(2, math.floor(fill * (1 + 1e-9))))
    full = math.ceil(fill * (1 - 1e-9))
    wanted = full + together(problem, cost) * cost.stages
    if deployment.objective == "throughput" and deployment.latency_bound_ms is not None:
        wanted = max(full, min(wanted, math.floor(deployment.latency_bound_ms / cost.bottleneck_ms)))
    return max(1, min(WINDOW_MAX, wanted))


def together(problem: Problem, cost: LineCost) -> int:
    """Frames that a stage may take up and hand on at once: one where anybody waits for a single answer."""
    deployment = problem.deployment
    if deployment.objective != "throughput" or deployment.latency_bound_ms is not None:
        return 1
    by_bytes = TOGETHER_BYTES / max(cost.largest_bytes, 1.0)
    by_time = TOGETHER_MS / max(cost.bottleneck_ms, BOTTLENECK_MIN_MS)
    return max(1, int(min(TOGETHER, by_bytes, by_time)))


def rates_rps(problem: Problem, costs: Sequence[LineCost]) -> list[float]:
    """Requests per second that each route gets at most, under the limits that all routes share.

    The hub's link goes to the routes that move the fewest bytes first (optimal for given routes: a fractional
    knapsack). The submitter's link scales all alike.
    """
    rates = [cost.rate_rps for cost in costs]
    if problem.hub.hub_mbps is not None:
        left = problem.hub.hub_mbps * 1e6 / 8
        for index in sorted(range(len(costs)), key=lambda i: costs[i].moved_bytes):
            rates[index] = min(rates[index], left / max(costs[index].moved_bytes, 1.0))
            left = max(0.0, left - rates[index] * costs[index].moved_bytes)
    total = sum(rates)
    return [rate * problem.submit_rps / total for rate in rates] if total > problem.submit_rps else rates


def shared_rates_rps(problem: Problem, costs: Sequence[LineCost], shares: Sequence[float]) -> list[float]:
    """Requests per second of each route when every one must keep to its share of them.

    Nobody gets ahead: the route that is slowest for its share, window included, holds up all others, and so does a
    link that all share.

    Args:
        problem: for the links and windows.
        costs: of every route.
        shares: of every route, 0 or above, not all 0; need not add up to 1.
    """
    parts = [share / sum(shares) for share in shares]
    limits = [problem.submit_rps]
    for part, cost in zip(parts, costs, strict=True):
        if part > 0:
            waiting_rps = window(problem, cost) * 1e3 / max(cost.latency_ms, BOTTLENECK_MIN_MS)
            limits.append(min(cost.rate_rps, waiting_rps) / part)
    if problem.hub.hub_mbps is not None:
        moved = sum(part * cost.moved_bytes for part, cost in zip(parts, costs, strict=True))
        limits.append(problem.hub.hub_mbps * 1e6 / 8 / max(moved, 1.0))
    return [part * min(limits) for part in parts]


def predict(problem: Problem, costs: Sequence[LineCost]) -> Prediction:
    """Of a plan of these routes, requests being shared out by their rates.

    Throughput is what the windows let through: under objective latency that is less than the devices could do.
    """
    return predict_at(problem, costs, rates_rps(problem, costs))


def predict_at(problem: Problem, costs: Sequence[LineCost], rates: Sequence[float]) -> Prediction:
    """Of a plan of these routes, each being given so many requests per second, not all 0."""
    total = sum(rates)
    served = [
        min(rate, window(problem, cost) * 1e3 / max(cost.latency_ms, BOTTLENECK_MIN_MS))
        for rate, cost in zip(rates, costs, strict=True)
    ]
    return Prediction(
        latency_ms=sum(rate * cost.latency_ms for rate, cost in zip(rates, costs, strict=True)) / total,
        throughput_rps=sum(served),
        energy_j=sum(rate * cost.energy_j for rate, cost in zip(rates, costs, strict=True)) / total,
        energy_method="measured" if all(cost.measured for cost in costs) else "modelled",
    )


def objective(problem: Problem, predicted: Prediction) -> float:
    """What is minimised: ms, negative requests per second, joules, or `w * latency_s + (1 - w) * energy_j`."""
    deployment = problem.deployment
    if deployment.objective == "throughput":
        return -predicted.throughput_rps
    if deployment.objective == "energy":
        return predicted.energy_j
    if deployment.objective == "cost":
        weight = deployment.latency_weight
        return weight * predicted.latency_ms / 1e3 + (1 - weight) * predicted.energy_j
    return predicted.latency_ms
