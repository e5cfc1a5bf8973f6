"""A plan and the reasons for it, from measured devices: pure, and computing for a while, so it belongs in a thread."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from schemas.deployment import Decision
from schemas.plan import Plan
from services.planner.careful import careful
from services.planner.complete import to_plan
from services.planner.cost import Problem, problem_from
from services.planner.errors import InfeasibleError
from services.planner.events import Decide
from services.planner.exit_choice import best_point
from services.planner.exit_rules import allowed_rules
from services.planner.explain import explain
from services.planner.facts import HubFacts
from services.planner.flow import objective
from services.planner.ground import Ground
from services.planner.policy import Choice, Policy
from services.planner.review import best_plan
from services.planner.shared_choice import again
from services.planner.wording import clip, left_out_text

KEEP_MARGIN: Final = 0.05
"""After a loss, surviving routes are kept unless another plan is better by more than this share."""


def make_plan(question: Decide, ground: Ground, hub: HubFacts) -> tuple[Plan, Decision]:
    """The policy's plan over this ground, and why. Pure; computes for a while, so it belongs in a thread.

    The generation of both is a placeholder: only the rollout knows which comes next.

    Raises:
        PlanningError: there is no plan; says why.
    """
    started = time.perf_counter()
    wish = question.wish
    keep = borders(question.serving)
    make = partial(problem_from, ground.card, wish, ground.facts, hub, keep=keep, rows=ground.rows)
    policy = careful(wish.policy)
    problem, best = best_point(
        (make(exits=rules) for rules in allowed_rules(ground.card, wish, ground.shares)),
        partial(best_plan, policy=policy, held=ground.held),
    )
    choice = keep_survivors(problem, best, question.serving)
    planning_ms = (time.perf_counter() - started) * 1e3
    plan = to_plan(problem, choice, generation=1, policy=wish.policy)
    decision = decision_of(problem, choice, policy, plan, cause=question.cause, left_out=ground.left_out)
    return plan, decision.model_copy(update={"planning_ms": planning_ms})


def decision_of(
    problem: Problem, choice: Choice, policy: Policy, plan: Plan, *, cause: str, left_out: Mapping[str, str]
) -> Decision:
    """What is told of a plan: why it, and why now. Takes as long as a few plannings."""
    why = explain(problem, choice, policy)
    return Decision(
        deployment=plan.deployment,
        generation=plan.generation,
        requested=problem.deployment.requested,
        state="preparing",
        plan=clip(str(plan)),
        predicted=plan.predicted,
        bound_rps=choice.bound_rps,
        alternatives=why.alternatives,
        decided_by=why.decided_by,
        explanation=clip(" ".join(part for part in (why.explanation, left_out_text(left_out)) if part)),
        cause=clip(cause),
    )


def borders(plan: Plan | None) -> list[int]:
    """Cut positions that a plan uses."""
    routes = plan.routes if plan is not None else ()
    return sorted({border for route in routes for stage in route.stages for border in (stage.first, stage.last)})


def keep_survivors(problem: Problem, best: Choice, serving: Plan | None) -> Choice:
    """After a loss: the routes that still stand, when they are nearly as good as the best plan.

    They go on without loading anything, so a small gain is not worth moving for.
    """
    if serving is None or serving.card_sha != problem.card.sha256:
        return best
    there = {facts.name for facts in problem.devices}
    routes = [route for route in serving.routes if there.issuperset(route.devices)]
    if not routes:
        return best
    try:
        kept = again(problem, routes, "surviving routes")
    except InfeasibleError:
        return best
    gain = objective(problem, kept.predicted) - objective(problem, best.predicted)
    if gain > KEEP_MARGIN * abs(objective(problem, best.predicted)):
        return best
    return replace(kept, notes=(*kept.notes, f"kept what still serves: at most {KEEP_MARGIN:.0%} could be gained"))
