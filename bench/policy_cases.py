"""Plans that several policies share, what was measured of each, and what that says of a policy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from bench.on_paper import sameness
from bench.policy_cells import GOALS, Goal
from bench.statistics import median, spread
from schemas.plan import Plan, Prediction


@dataclass
class Case:
    """Policies that make the same plan for one goal, and what was seen of it."""

    goal: Goal
    policies: list[str]
    plan: str
    predicted: Prediction | None
    values: list[float] = field(default_factory=list)
    """Of throughput: one per round. Of latency: one per request."""
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Of turns that gave no value."""
    error: float = float("nan")


def cases_of(plans: dict[tuple[str, Goal], Plan]) -> list[Case]:
    """One case per goal and different plan, in the order of the policies; plans by policy and goal."""
    cases: dict[tuple[Goal, str], Case] = {}
    for (policy, goal), plan in plans.items():
        key = (goal, sameness(plan, flat_out=goal == "throughput"))
        if key in cases:
            cases[key].policies.append(policy)
        else:
            cases[key] = Case(goal, [policy], described(plan), plan.predicted)
    return list(cases.values())


def described(plan: Plan) -> str:
    """As a plan prints, with the shares of its routes where there are several."""
    if len(plan.routes) == 1:
        return str(plan)
    return " | ".join(f"r{number}: {route} ({route.weight:.0%})" for number, route in enumerate(plan.routes))


def row(
    fleet: str, model: str, policy: str, cases: Sequence[Case], refusals: dict[tuple[str, Goal], str]
) -> dict[str, Any]:
    """What is known of one policy: null where there is no figure, and then a note that says why."""
    mine = {case.goal: case for case in cases if policy in case.policies}
    fast, quick = mine.get("throughput"), mine.get("latency")
    shown = fast or quick
    notes = [*(f"for {goal}: {refusals[policy, goal]}" for goal in GOALS if (policy, goal) in refusals)]
    notes += _each(note for case in mine.values() for note in case.notes)
    failures = _each(failure for case in mine.values() for failure in case.failures)
    errors = [case.error for case in mine.values() if case.error == case.error]
    return {
        "fleet": fleet,
        "model": model,
        "policy": policy,
        "objective": "throughput_rps of its plan for throughput, latency_ms of its plan for latency",
        "throughput_rps": median(fast.values) if fast and fast.values else None,
        "throughput_spread": spread(fast.values) if fast and fast.values else None,
        "rounds": len(fast.values) if fast else 0,
        "latency_ms": median(quick.values) if quick and quick.values else None,
        "latency_spread": spread(quick.values) if quick and quick.values else None,
        "latency_mean_ms": fmean(quick.values) if quick and quick.values else None,
        "predicted_rps": fast.predicted.throughput_rps if fast and fast.predicted else None,
        "predicted_latency_ms": quick.predicted.latency_ms if quick and quick.predicted else None,
        "plan": shown.plan if shown else None,
        "latency_plan": quick.plan if quick else None,
        "same_plan_as": {goal: [name for name in case.policies if name != policy] for goal, case in mine.items()},
        "max_abs_error": max(errors, default=None),
        "note": "; ".join([*notes, *failures]),
    } | ({"failed": "; ".join(failures)} if failures else {})


def _each(notes: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(notes))
