"""From what is known of devices now to the plans that a learner chooses from. Pure; takes some plannings."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from schemas.deployment import Deployment
from schemas.plan import Plan
from services.planner.careful import careful
from services.planner.cost import Problem, problem_from
from services.planner.exit_choice import best_point
from services.planner.exit_rules import allowed_rules
from services.planner.facts import HubFacts
from services.planner.ground import Ground
from services.planner.learning.arms import Arm, arms_of, cost_of
from services.planner.plan_making import borders
from services.planner.review import best_plan, still

KEPT: Final = 0.15
"""Exact's plan stays the one that others are compared with until a new one is predicted to save this share."""


def gathered(
    wish: Deployment, ground: Ground, hub: HubFacts, *, serving: Plan, baseline: Plan | None
) -> tuple[Problem, tuple[Arm, ...]]:
    """The problem, and what may be served: exact's plan first, and what is served now among them if it can be.

    Args:
        wish: of the deployment.
        ground: on what is known now.
        hub: the links that all share.
        serving: what is served now.
        baseline: exact's plan at the decision before.

    Raises:
        services.planner.errors.PlanningError: there is no plan.
    """
    keep = sorted({*borders(serving), *borders(baseline)})
    make = partial(problem_from, ground.card, wish, ground.facts, hub, keep=keep, rows=ground.rows)
    problem, exact = best_point(
        (make(exits=rules) for rules in allowed_rules(ground.card, wish, ground.shares)),
        partial(best_plan, policy=careful(wish.policy), held=ground.held),
    )
    kept = still(problem, baseline) if baseline is not None else None
    if kept is not None:
        before, after = (cost_of(wish.objective, one.predicted) for one in (kept, exact))
        if after >= (1 - KEPT) * before:
            shared = any(route.side_by_side is not None for route in kept.routes)
            exact = replace(kept, without=(exact.without or exact) if shared else None)
    return problem, arms_of(problem, exact, serving)
