"""Why a plan is as it is: what the other plans would have given, and which term decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas.deployment import Alternative, Term
from schemas.plan import Prediction
from services.planner.complete import choose
from services.planner.cost import Problem
from services.planner.deciding_term import COUNTERFACTUALS, SAME, attempt, deciding_term
from services.planner.errors import InfeasibleError, PlanningError
from services.planner.flow import objective
from services.planner.one_route import best_pipeline
from services.planner.policies.best_single import BestSingle
from services.planner.policies.even_split import EvenSplit
from services.planner.policies.replicas import Replicas
from services.planner.policy import Choice, Policy
from services.planner.why import in_short, listed, why_side_by_side, why_split, why_whole

_TEXT_MAX: Final = 4000


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
        "best single device": attempt(BestSingle(), problem),
        "replicas": attempt(Replicas(), problem),
        "best pipeline": _pipeline(problem),
        "even split": attempt(EvenSplit(), problem),
    }
    decided_by, otherwise = deciding_term(problem, choice, policy)
    if choice.routes[0].side_by_side is not None:
        sentence = why_side_by_side(problem, choice, choice.routes[0].side_by_side)
        others = others if choice.without is None else {"without rows side by side": choice.without, **others}
    elif any(len(route.stages) > 1 for route in choice.routes):
        whole = (others["best single device"], others["replicas"])
        sentence = why_split(problem, choice, decided_by, whole, policy)
    else:
        sentence = why_whole(problem, choice, others["best pipeline"], policy)
    remarks = [*_leaving(problem), *(f"Note: {note}." for note in choice.notes)]
    if otherwise is not None and decided_by in COUNTERFACTUALS:
        remarks.insert(0, f"{COUNTERFACTUALS[decided_by]} it would be {in_short(otherwise)}.")
    return Explanation(
        alternatives=(
            _alternative(problem, choice, "chosen", choice),
            *(_alternative(problem, choice, label, other) for label, other in others.items()),
        ),
        decided_by=decided_by,
        explanation=_clip(" ".join([sentence, *remarks])),
    )


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
    if abs(worse) <= SAME * abs(objective(problem, chosen)):
        return "as good as the chosen plan"
    size = abs(worse)
    if kind == "latency":
        return f"{size:.1f} ms {'slower' if worse > 0 else 'quicker'}"
    if kind == "throughput":
        return f"{size:.1f} requests/s {'fewer' if worse > 0 else 'more'}"
    if kind == "energy":
        return f"{size:.3f} J {'more' if worse > 0 else 'less'} per request"
    return f"costs {size:.4f} {'more' if worse > 0 else 'less'} per request"


def _leaving(problem: Problem) -> list[str]:
    """How many are expected to leave early, where exits are open: blocks behind them count for the others only."""
    if not problem.exits:
        return []
    where = listed([f"{rule.share:.0%} at {rule.name}" for rule in problem.exits])
    return [f"Of all requests, {where} are expected to leave early."]


def _clip(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}..."
