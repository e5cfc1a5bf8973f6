"""Why a plan splits, does not, or shares rows, in a sentence with both figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from schemas.deployment import Term
from schemas.plan import Prediction, SideBySide
from services.planner.certainty import Cautious
from services.planner.complete import lines_of
from services.planner.cost import Problem
from services.planner.deciding_term import SAME
from services.planner.diagnosis import line_text
from services.planner.errors import PlanningError
from services.planner.flow import objective
from services.planner.line_cost import Line
from services.planner.policy import Choice, Policy
from services.planner.whole_copies import no_copy

_REASONS_MAX: Final = 4
_ROUTES_SHOWN: Final = 8
"""Of a plan that is mentioned only, and devices of one: in large fleets there are hundreds."""
_DECIMALS: Final = 1
"""Of milliseconds, as they are shown."""


def why_whole(problem: Problem, choice: Choice, pipeline: Choice | PlanningError, policy: Policy) -> str:
    """Why whole copies serve; `pipeline` is the best split, or why there is none."""
    if isinstance(pipeline, PlanningError):
        return f"Not split: {pipeline}."
    split = f"the best split ({pipeline.routes[0]})"
    if _is_better(problem, pipeline, choice):
        gives = _gives(problem, pipeline.predicted)
        if isinstance(policy, Cautious):
            return f"Not split: {split} {gives}, too small a gain to rely on."
        return f"Not split, by policy {policy.name}, though {split} {gives}."
    if problem.deployment.objective == "throughput":
        return (
            f"Not split: {_who(problem, choice)}; {split} "
            f"{_gives(problem, pipeline.predicted)}, held up by {_slowest(problem, pipeline)}."
        )
    computing, moving = _difference_parts(problem, choice, pipeline)
    text = f"{split} {_saves(computing)} and {_moves(moving)}"
    if problem.deployment.objective == "latency":
        return f"Not split: {text}."
    return f"Not split: {_who(problem, choice)}; {text}, so it {_gives(problem, pipeline.predicted)}."


def why_split(
    problem: Problem, choice: Choice, decided_by: Term, whole: Sequence[Choice | PlanningError], policy: Policy
) -> str:
    """Why the blocks are split; `whole` are the best single device and the replicas, or why they cannot serve."""
    single, replicas = whole
    if isinstance(single, PlanningError):
        if decided_by == "pins":
            pins = ", ".join(f"[{pin.first}:{pin.last}) on {pin.device}" for pin in problem.deployment.pins)
            return f"Split because of pins ({pins}): no device may run the whole model."
        return f"Split because no single device can serve the whole model: {_whole_reasons(problem)}."
    alone = f"the best single device ({single.routes[0]}) {_gives(problem, single.predicted)}"
    if not isinstance(replicas, PlanningError) and len(replicas.routes) > 1:
        alone += f", whole copies on {len(replicas.routes)} devices {_gives(problem, replicas.predicted, many=True)}"
    if _is_better(problem, single, choice):
        return f"Split, by policy {policy.name}, though {alone}; this plan {_gives(problem, choice.predicted)}."
    text = f"Split: the plan {_gives(problem, choice.predicted)}; {alone}"
    if problem.deployment.objective == "throughput":
        return f"{text}."
    computing, moving = _difference_parts(problem, single, choice)
    return f"{text}; splitting {_saves(computing)} and {_moves(moving)}."


def why_side_by_side(problem: Problem, choice: Choice, shared: SideBySide) -> str:
    """Why several devices share the first blocks' rows."""
    devices = len({band.device for band in shared.bands})
    text = f"Rows side by side on {devices} devices: {_figure(problem, choice.predicted)}"
    if choice.without is not None:
        text += f" against {_figure(problem, choice.without.predicted)} without ({in_short(choice.without)})"
    return (
        f"{text}; the bands compute blocks [0:{shared.last}) at the same time, {choice.routes[0].stages[0]} joins them."
    )


def _figure(problem: Problem, predicted: Prediction) -> str:
    """What `_gives` says, without its verb."""
    return _gives(problem, predicted).partition(" ")[2]


def _is_better(problem: Problem, one: Choice, other: Choice) -> bool:
    reached = objective(problem, other.predicted)
    return objective(problem, one.predicted) < reached - SAME * abs(reached)


def _gives(problem: Problem, predicted: Prediction, *, many: bool = False) -> str:
    kind = problem.deployment.objective
    ending = "" if many else "s"
    if kind == "throughput":
        return f"give{ending} {predicted.throughput_rps:.1f} requests/s"
    if kind == "latency":
        return f"take{ending} {predicted.latency_ms:.1f} ms"
    if kind == "energy":
        return f"use{ending} {predicted.energy_j:.3f} J"
    value = objective(problem, predicted)
    return f"cost{ending} {value:.4f} ({predicted.latency_ms:.1f} ms, {predicted.energy_j:.3f} J)"


def _saves(ms: float) -> str:
    if ms >= 0:
        return f"saves {ms:.1f} ms of compute"
    return f"computes {-ms:.1f} ms longer (a request's blocks run one after another, and some would run slower)"


def _moves(ms: float) -> str:
    """What links and frames add; less than before where the ends of the line have the quicker links."""
    return f"its links and frames cost {ms:.1f} ms more" if ms >= 0 else f"saves {-ms:.1f} ms of links and frames"


def _who(problem: Problem, choice: Choice) -> str:
    devices = [device for route in choice.routes for device in route.devices]
    if len(devices) == 1:
        return f"{devices[0]} alone {_gives(problem, choice.predicted)}"
    return f"whole copies on {listed(devices)} {_gives(problem, choice.predicted, many=True)}"


def _difference_parts(problem: Problem, whole: Choice, split: Choice) -> tuple[float, float]:
    """Compute that the split saves, and what it costs more in links and frames, ms per request."""
    computing = round(_compute_ms(problem, whole) - _compute_ms(problem, split), _DECIMALS) + 0.0  # never "-0.0"
    # What is not computing moves data: transfers, round trips, frames. Taken from the figures as people see
    # them, so that the parts add up to the difference.
    slower = round(split.predicted.latency_ms, _DECIMALS) - round(whole.predicted.latency_ms, _DECIMALS)
    return computing, round(slower + computing, _DECIMALS)


def _compute_ms(problem: Problem, choice: Choice) -> float:
    """Computing and coding of a request that finds its devices at rest, as predicted latencies have it, ms."""
    return sum(
        route.weight * float(problem.idle_compute_ms[stage])
        for route, line in zip(choice.routes, lines_of(problem, choice.routes), strict=True)
        for stage in line
    )


def _slowest(problem: Problem, pipeline: Choice) -> str:
    line: Line = lines_of(problem, pipeline.routes)[0]
    stage = max(line, key=lambda stage: float(problem.bottleneck_ms[stage]))
    bottleneck = float(problem.bottleneck_ms[stage])
    text = line_text(problem, (stage,))
    if bottleneck > float(problem.service_ms[stage]):
        return f"{text}, whose link needs {bottleneck:.1f} ms for each request"
    return f"{text}, busy for {bottleneck:.1f} ms with each request"


def _whole_reasons(problem: Problem) -> str:
    reasons = list(no_copy(problem).values())
    return "; ".join(reasons[:_REASONS_MAX]) + (
        f"; and {len(reasons) - _REASONS_MAX} more" * (len(reasons) > _REASONS_MAX)
    )


def in_short(choice: Choice) -> str:
    """A plan that is mentioned only: its first routes, and how many more there are."""
    more = len(choice.routes) - _ROUTES_SHOWN
    shown = " | ".join(f"r{index}: {route}" for index, route in enumerate(choice.routes[:_ROUTES_SHOWN]))
    return f"{shown} and {more} more routes" if more > 0 else shown


def listed(names: Sequence[str]) -> str:
    """`a, b and c`, the first few of many; at least one."""
    if len(names) > _ROUTES_SHOWN:
        return f"{', '.join(names[:_ROUTES_SHOWN])} and {len(names) - _ROUTES_SHOWN} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
