"""A plan and the reasons for it, from measured devices: pure, and computing for a while, so it belongs in a thread."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from schemas.deployment import Decision
from schemas.plan import Plan
from services.planner.certainty import Cautious
from services.planner.complete import choose, lines_of, to_plan
from services.planner.cost import Problem, problem_from
from services.planner.errors import InfeasibleError
from services.planner.events import Decide
from services.planner.explain import explain
from services.planner.facts import HubFacts
from services.planner.flow import objective
from services.planner.ground import Ground, facts_of
from services.planner.policies import OWN_POLICIES, find_policy
from services.planner.policy import Choice
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
    facts = [facts_of(device, profile, wish.deployment) for device, profile in ground.devices.values()]
    problem = problem_from(ground.card, wish, facts, hub)
    policy = find_policy(wish.policy)
    if policy.name in OWN_POLICIES:
        policy = Cautious(policy)
    choice = keep_survivors(problem, policy.plan(problem), question.serving)
    planning_ms = (time.perf_counter() - started) * 1e3
    plan = to_plan(problem, choice, generation=1, policy=wish.policy)
    why = explain(problem, choice, policy)
    decision = Decision(
        deployment=wish.deployment,
        generation=1,
        requested=wish.requested,
        state="preparing",
        plan=clip(str(plan)),
        predicted=plan.predicted,
        bound_rps=choice.bound_rps,
        alternatives=why.alternatives,
        decided_by=why.decided_by,
        explanation=clip(" ".join(part for part in (why.explanation, left_out_text(ground.left_out)) if part)),
        planning_ms=planning_ms,
    )
    return plan, decision


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
        kept = choose(problem, lines_of(problem, routes), "surviving routes")
    except InfeasibleError:
        return best
    gain = objective(problem, kept.predicted) - objective(problem, best.predicted)
    if gain > KEEP_MARGIN * abs(objective(problem, best.predicted)):
        return best
    return replace(kept, notes=(*kept.notes, f"kept what still serves: at most {KEEP_MARGIN:.0%} could be gained"))
