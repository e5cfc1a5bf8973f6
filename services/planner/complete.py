"""Routes completed to a plan: weights, windows, what every stage and the whole will give; and plans back to routes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas.deployment import Deployment
from schemas.model import ModelCard
from schemas.plan import PLAN_ROUTES, ROUTE_STAGES, Plan, Route, Stage, StagePrediction
from services.planner.bound import compute_bound_rps
from services.planner.cost import Problem
from services.planner.errors import InfeasibleError
from services.planner.flow import predict_at, rates_rps, shared_rates_rps, together, window
from services.planner.line_cost import Line, LineCost, Placement, in_bound, line_cost
from services.planner.policy import Choice


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
    predicted = predict_at(problem, [costs[i] for i in used], [rates[i] for i in used])
    bound = compute_bound_rps(problem) if problem.deployment.objective == "throughput" else None
    return Choice(
        routes=routes, predicted=predicted, label=label, notes=tuple(notes), bound_rps=bound,
        in_turn=shares is not None, exits=problem.exits,
    )  # fmt: skip


def kind(lines: Sequence[Line]) -> str:
    """What people call such a plan."""
    if len(lines) == 1:
        return "one device" if len(lines[0]) == 1 else "pipeline"
    return "replicas" if all(len(line) == 1 for line in lines) else "replicated pipelines"


def to_plan(problem: Problem, choice: Choice, *, generation: int, policy: str) -> Plan:
    """The message that workers and submitters follow."""
    return plan_of(problem.card, problem.deployment, choice, generation=generation, policy=policy)


def plan_of(card: ModelCard, wish: Deployment, choice: Choice, *, generation: int, policy: str) -> Plan:
    """The same, where the problem is not at hand."""
    return Plan(
        deployment=wish.deployment,
        generation=generation,
        model=card.name,
        card_sha=card.sha256,
        objective=wish.objective,
        policy=policy,
        weight=wish.weight,
        in_turn=choice.in_turn,
        routes=choice.routes,
        predicted=choice.predicted,
        exits=choice.exits,
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
        predicted=predict_at(problem, [cost], [rate]),
        stage_predictions=tuple(stage_prediction(problem, stage) for stage in line),
    )


def stage_prediction(problem: Problem, stage: Placement) -> StagePrediction:
    """Of a request that comes to the stage; on average, where some leave in it."""
    reach = float(problem.reach[stage.first])
    up_ms = float(problem.up_ms[stage.device, stage.last]) + float(problem.exits_up_ms[stage])
    return StagePrediction(
        down_ms=float(problem.down_ms[stage.device, stage.first]) / reach,
        compute_ms=float(problem.idle_compute_ms[stage]) / reach,
        frame_ms=float(max(0.0, problem.idle_frame_ms[stage])) / reach,
        up_ms=up_ms / reach,
    )
