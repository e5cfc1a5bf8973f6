"""What a plan would give: latency, requests per second and joules of any set of routes, by the cost model.

Every policy is judged by these functions, and only by them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from schemas.plan import PLAN_ROUTES, ROUTE_STAGES, Plan, Prediction, Route, Stage, StagePrediction
from services.planner.bound import BOTTLENECK_MIN_MS, compute_bound_rps
from services.planner.cost import Problem
from services.planner.errors import InfeasibleError
from services.planner.policy import Choice

WINDOW_MAX: Final = 1024
TOGETHER: Final = 6
"""Frames that a stage takes up and hands on at once where only throughput counts,"""
TOGETHER_BYTES: Final = 6_000_000
"""and their bytes, which wait in a small computer's memory,"""
TOGETHER_MS: Final = 200.0
"""and how long that takes: where each frame is long work, moving it is next to nothing."""


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
        moved_bytes=float(problem.wire_bytes[0]) + sum(float(problem.wire_bytes[stage.last]) for stage in line),
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
    return _whole(problem, costs, rates_rps(problem, costs))


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


def choose(
    problem: Problem,
    lines: Sequence[Line],
    label: str,
    notes: Iterable[str] = (),
    *,
    shares: Sequence[float] | None = None,
) -> Choice:
    """Complete routes with weights, windows and predictions.

    Routes that would get no request are left out, and of more than PLAN_ROUTES the slowest.

    Args:
        problem: what the lines are for.
        lines: the routes.
        label: what such a plan is called.
        notes: for the reader of the decision.
        shares: of the requests, one per line; each gets what it can serve when not given.

    Raises:
        InfeasibleError: a route that breaks a constraint.
    """
    longest = max(map(len, lines), default=0)
    if longest > ROUTE_STAGES:
        raise InfeasibleError(
            f"{label}: a route of {longest} stages, and a frame can pass {ROUTE_STAGES} at most: exclude some devices"
        )
    costs = [line_cost(problem, line) for line in lines]
    if len(lines) > PLAN_ROUTES:
        notes = (
            *notes,
            f"the {len(lines) - PLAN_ROUTES} slowest routes are left out: a plan has {PLAN_ROUTES} at most",
        )
        fastest = sorted(range(len(lines)), key=lambda index: costs[index].bottleneck_ms)[:PLAN_ROUTES]
        lines, costs = [lines[index] for index in fastest], [costs[index] for index in fastest]
        shares = None if shares is None else [shares[index] for index in fastest]
    if not lines or not all(in_bound(problem, cost) for cost in costs):
        raise InfeasibleError(f"{label}: a stage does not fit its device, breaks a pin, or is over the latency bound")
    rates = rates_rps(problem, costs) if shares is None else shared_rates_rps(problem, costs, shares)
    used = [index for index, rate in enumerate(rates) if rate > 1e-9 * sum(rates)]
    total = sum(rates[index] for index in used)
    routes = tuple(_route(problem, lines[i], costs[i], rate=rates[i], weight=min(1.0, rates[i] / total)) for i in used)
    predicted = _whole(problem, [costs[i] for i in used], [rates[i] for i in used])
    bound = compute_bound_rps(problem) if problem.deployment.objective == "throughput" else None
    return Choice(
        routes=routes, predicted=predicted, label=label, notes=tuple(notes), bound_rps=bound, in_turn=shares is not None
    )


def kind(lines: Sequence[Line]) -> str:
    """What people call such a plan."""
    if len(lines) == 1:
        return "one device" if len(lines[0]) == 1 else "pipeline"
    return "replicas" if all(len(line) == 1 for line in lines) else "replicated pipelines"


def to_plan(problem: Problem, choice: Choice, *, generation: int, policy: str) -> Plan:
    """The message that workers and submitters follow."""
    return Plan(
        deployment=problem.deployment.deployment,
        generation=generation,
        model=problem.card.name,
        card_sha=problem.card.sha256,
        objective=problem.deployment.objective,
        policy=policy,
        in_turn=choice.in_turn,
        routes=choice.routes,
        predicted=choice.predicted,
    )


def lines_of(problem: Problem, routes: Iterable[Route]) -> tuple[Line, ...]:
    """Routes back in the problem's own numbers.

    Raises:
        InfeasibleError: a device or cut point that the problem does not have.
    """
    device = {facts.name: index for index, facts in enumerate(problem.devices)}
    position = {block: index for index, block in enumerate(problem.positions.tolist())}
    try:
        return tuple(
            tuple(
                Placement(device[stage.device], position[stage.first], position[stage.last]) for stage in route.stages
            )
            for route in routes
        )
    except KeyError as error:
        raise InfeasibleError(f"{error.args[0]} is no device or cut point of this problem") from error


def _whole(problem: Problem, costs: Sequence[LineCost], rates: Sequence[float]) -> Prediction:
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


def _route(problem: Problem, line: Line, cost: LineCost, *, rate: float, weight: float) -> Route:
    borders = problem.positions.tolist()
    codec = problem.deployment.codec
    return Route(
        stages=tuple(
            Stage(
                device=problem.devices[stage.device].name,
                first=borders[stage.first],
                last=borders[stage.last],
                codec=codec if number < len(line) else "fp32",
            )
            for number, stage in enumerate(line, 1)
        ),
        weight=weight,
        window=window(problem, cost),
        together=together(problem, cost),
        predicted=_whole(problem, [cost], [rate]),
        stage_predictions=tuple(
            StagePrediction(
                down_ms=float(problem.down_ms[stage.device, stage.first]),
                compute_ms=float(problem.idle_compute_ms[stage]),
                frame_ms=float(max(0.0, problem.idle_frame_ms[stage])),
                up_ms=float(problem.up_ms[stage.device, stage.last]),
            )
            for stage in line
        ),
    )
