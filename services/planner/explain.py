"""Why a plan is as it is: what the other plans would have given, and which term decided.

The deciding term is found by counterfactuals: the same policy plans again with unlimited memory, then without pins,
then with links and frames that cost nothing. The first of these worlds in which other devices would serve (or the
same in another arrangement) names the term; if none of them changes the choice, the devices' speeds made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from schemas.deployment import Alternative, Term
from schemas.plan import Prediction, SideBySide
from services.planner.certainty import Cautious
from services.planner.complete import choose, lines_of
from services.planner.cost import Problem
from services.planner.diagnosis import line_text
from services.planner.errors import InfeasibleError, PlanningError
from services.planner.flow import objective
from services.planner.line_cost import Line
from services.planner.one_route import best_pipeline
from services.planner.policies.best_single import BestSingle
from services.planner.policies.even_split import EvenSplit
from services.planner.policies.replicas import Replicas
from services.planner.policy import Choice, Policy
from services.planner.whole_copies import no_copy

_TEXT_MAX: Final = 4000
_REASONS_MAX: Final = 4
_ROUTES_SHOWN: Final = 8
"""Of a plan that is mentioned only, and devices of one: in large fleets there are hundreds."""
_SAME: Final = 1e-3
"""Plans whose objectives differ by less than this share are the same to people."""
_DECIMALS: Final = 1
"""Of milliseconds, as they are shown."""
_COUNTERFACTUALS: Final[dict[Literal["memory", "pins", "link"], str]] = {
    "memory": "With unlimited memory",
    "pins": "Without pins",
    "link": "If links and frames cost nothing",
}


@dataclass(frozen=True)
class Explanation:
    """The part of a Decision that says why."""

    alternatives: tuple[Alternative, ...]
    """What was considered, the chosen plan first."""
    decided_by: Term
    explanation: str


def explain(problem: Problem, choice: Choice, policy: Policy) -> Explanation:
    """Explain what `policy` chose for `problem`. Pure; takes as long as a few plannings."""
    others: dict[str, Choice | PlanningError] = {
        "best single device": _attempt(BestSingle(), problem),
        "replicas": _attempt(Replicas(), problem),
        "best pipeline": _pipeline(problem),
        "even split": _attempt(EvenSplit(), problem),
    }
    decided_by, otherwise = deciding_term(problem, choice, policy)
    if choice.routes[0].side_by_side is not None:
        sentence = _why_side_by_side(problem, choice, choice.routes[0].side_by_side)
        others = others if choice.without is None else {"without rows side by side": choice.without, **others}
    elif any(len(route.stages) > 1 for route in choice.routes):
        whole = (others["best single device"], others["replicas"])
        sentence = _why_split(problem, choice, decided_by, whole, policy)
    else:
        sentence = _why_whole(problem, choice, others["best pipeline"], policy)
    remarks = [*_leaving(problem), *(f"Note: {note}." for note in choice.notes)]
    if otherwise is not None and decided_by in _COUNTERFACTUALS:
        remarks.insert(0, f"{_COUNTERFACTUALS[decided_by]} it would be {_in_short(otherwise)}.")
    return Explanation(
        alternatives=(
            _alternative(problem, choice, "chosen", choice),
            *(_alternative(problem, choice, label, other) for label, other in others.items()),
        ),
        decided_by=decided_by,
        explanation=_clip(" ".join([sentence, *remarks])),
    )


def deciding_term(problem: Problem, choice: Choice, policy: Policy) -> tuple[Term, Choice | None]:
    """The constraint or cost without which `policy` would have used other devices, or arranged them otherwise.

    Returns:
        The term, and the plan of the world without it; "compute" or "none" and None when no world has another plan.
    """
    if len(problem.devices) == 1:
        return "none", None
    reached = objective(problem, choice.predicted)
    for term in _COUNTERFACTUALS:
        world = problem.without(term)
        if term != "link" and np.array_equal(world.feasible, problem.feasible):
            continue
        other = _attempt(policy, world)
        if isinstance(other, PlanningError) or _arrangement(other) == _arrangement(choice):
            continue
        if reached - objective(problem, other.predicted) > _SAME * abs(reached):
            return term, other
    return "compute", None


def _attempt(policy: Policy, problem: Problem) -> Choice | PlanningError:
    try:
        return policy.plan(problem)
    except PlanningError as error:
        return error


def _pipeline(problem: Problem) -> Choice | PlanningError:
    if len(problem.devices) == 1:
        return InfeasibleError("there is only one device")
    if len(problem.positions) == 2:
        return InfeasibleError("the model is one block, which cannot be split")
    line = best_pipeline(problem)
    if line is None:
        return InfeasibleError("no split keeps the memory limits, pins, links and latency bound")
    return choose(problem, [line], "pipeline")


def _alternative(problem: Problem, choice: Choice, label: str, other: Choice | PlanningError) -> Alternative:
    if isinstance(other, PlanningError):
        return Alternative(label=label, plan="", feasible=False, reason=_clip(str(other)))
    if other is choice:
        reason = choice.label
    elif str(other) == str(choice):
        reason = "the same plan as the chosen one"
    else:
        reason = _difference(problem, choice.predicted, other.predicted)
    return Alternative(label=label, plan=_clip(str(other)), feasible=True, predicted=other.predicted, reason=reason)


def _difference(problem: Problem, chosen: Prediction, other: Prediction) -> str:
    """How much worse the other plan is by the objective; policies other than the exact one may have missed better."""
    kind = problem.deployment.objective
    worse = objective(problem, other) - objective(problem, chosen)
    if abs(worse) <= _SAME * abs(objective(problem, chosen)):
        return "as good as the chosen plan"
    size = abs(worse)
    if kind == "latency":
        return f"{size:.1f} ms {'slower' if worse > 0 else 'quicker'}"
    if kind == "throughput":
        return f"{size:.1f} requests/s {'fewer' if worse > 0 else 'more'}"
    if kind == "energy":
        return f"{size:.3f} J {'more' if worse > 0 else 'less'} per request"
    return f"costs {size:.4f} {'more' if worse > 0 else 'less'} per request"


def _why_whole(problem: Problem, choice: Choice, pipeline: Choice | PlanningError, policy: Policy) -> str:
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


def _why_split(
    problem: Problem, choice: Choice, decided_by: Term, whole: Sequence[Choice | PlanningError], policy: Policy
) -> str:
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


def _why_side_by_side(problem: Problem, choice: Choice, shared: SideBySide) -> str:
    devices = len({band.device for band in shared.bands})
    text = f"Rows side by side on {devices} devices: {_figure(problem, choice.predicted)}"
    if choice.without is not None:
        text += f" against {_figure(problem, choice.without.predicted)} without ({_in_short(choice.without)})"
    return (
        f"{text}; the bands compute blocks [0:{shared.last}) at the same time, {choice.routes[0].stages[0]} joins them."
    )


def _figure(problem: Problem, predicted: Prediction) -> str:
    """What `_gives` says, without its verb."""
    return _gives(problem, predicted).partition(" ")[2]


def _is_better(problem: Problem, one: Choice, other: Choice) -> bool:
    reached = objective(problem, other.predicted)
    return objective(problem, one.predicted) < reached - _SAME * abs(reached)


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
    return f"whole copies on {_listed(devices)} {_gives(problem, choice.predicted, many=True)}"


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


def _leaving(problem: Problem) -> list[str]:
    """How many are expected to leave early, where exits are open: blocks behind them count for the others only."""
    if not problem.exits:
        return []
    where = _listed([f"{rule.share:.0%} at {rule.name}" for rule in problem.exits])
    return [f"Of all requests, {where} are expected to leave early."]


def _in_short(choice: Choice) -> str:
    more = len(choice.routes) - _ROUTES_SHOWN
    shown = " | ".join(f"r{index}: {route}" for index, route in enumerate(choice.routes[:_ROUTES_SHOWN]))
    return f"{shown} and {more} more routes" if more > 0 else shown


def _arrangement(choice: Choice) -> list[tuple[str, ...]]:
    return sorted(route.devices for route in choice.routes)


def _listed(names: Sequence[str]) -> str:
    if len(names) > _ROUTES_SHOWN:
        return f"{', '.join(names[:_ROUTES_SHOWN])} and {len(names) - _ROUTES_SHOWN} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _clip(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}..."
