"""What is told of a learner is also what it is continued from after the planner has started again. Pure.

The retained message holds what each plan was measured to cost and how it compares with exact's. That is enough: the
regression begins again from it, and what pairs said counts for half, for nobody knows what has changed meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from schemas.learning import Learning, LearningState, ServedBy, TriedPlan
from services.planner.learning.arms import Arm
from services.planner.learning.budget import Budget
from services.planner.learning.learner import Learner, Pick, Tried
from services.planner.learning.linear import Linear
from services.planner.learning.pairs import SPREAD, Pairs
from services.planner.moving_average import Average

REMEMBERED: Final = 0.5
"""Of the pairs that are read back."""
_BOUND: Final = 1e9
_DECISIONS_MOST: Final = 1 << 50


def told(
    learner: Learner,
    arms: Sequence[Arm],
    *,
    deployment: str,
    generation: int,
    policy: str,
    by: ServedBy,
    serving: str,
    reason: str = "",
) -> Learning:
    """As it is published.

    Args:
        learner: what was learned.
        arms: exact's plan first; empty before any were looked at.
        deployment: of which.
        generation: of the plan that is served.
        policy: that learns.
        by: why that plan is served.
        serving: the plan as it is printed.
        reason: why the policy cannot be asked; empty when it can.
    """
    acting = bool(arms) and learner.acting(arms) is not arms[0]
    state: LearningState = "idle" if reason else "acting" if acting else "shadow"
    served = next((arm for arm in arms if arm.name == serving), None)
    pairs = learner.between(served, arms[0]) if served is not None and served is not arms[0] else Pairs()
    return Learning(
        deployment=deployment,
        generation=generation,
        policy=policy,
        state=state,
        reason=reason[:4000],
        serving=serving,
        by=by,
        decisions=learner.decisions,
        explored=learner.budget.explored,
        explored_share=round(learner.budget.explored_share, 4),
        extra_cost=round(learner.budget.extra_share, 4),
        regret=round(learner.regret.value(), 4),
        gain=0.0 if by in {"exact", "probing"} else _gain(pairs),
        tried=tuple(_tried(learner, arm, arms[0]) for arm in arms if arm is arms[0] or arm.name in learner.tried),
    )


def restored(message: Learning) -> Learner:
    """What a planner before this one had learned, as far as it was told."""
    decisions = min(_DECISIONS_MOST, message.decisions)
    explored = min(message.explored, decisions)
    return Learner(
        tried={one.plan: _known(one) for one in message.tried if one.measured > 0},
        pairs={
            (one.plan, message.tried[0].plan): pairs for one in message.tried[1:] if (pairs := _paired(one)) is not None
        },
        incumbent=message.serving if message.by == "learned" else "",
        budget=Budget(decisions=decisions, explored=explored, extra=message.extra_cost * decisions),
        regret=Average().with_sample(message.regret, 1.0),
        probed=decisions,
        explored_at=decisions,
    )


def relearned(learner: Learner, arms: Sequence[Arm]) -> Linear:
    """The regression as it follows from what plans were measured to cost, once each."""
    linear = learner.linear
    for arm in arms:
        tried = learner.tried.get(arm.name)
        if tried is not None:
            linear = linear.learned(arm.name, arm.terms, arm.cost, tried.cost.value())
    return linear


def pick_of(arms: Sequence[Arm], serving: str, by: ServedBy) -> Pick | None:
    """What is served, as it was picked; None when it is no plan that can be told of."""
    arm = next((one for one in arms if one.name == serving), None)
    if arm is None:
        return None
    return Pick(arm, by if arm is not arms[0] or by == "probing" else "exact")


def _tried(learner: Learner, arm: Arm, exact: Arm) -> TriedPlan:
    tried, pairs = learner.tried.get(arm.name, Tried(arm.cost)), learner.between(arm, exact)
    return TriedPlan(
        plan=arm.name,
        predicted=round(min(_BOUND, arm.cost), 3),
        measured=round(tried.cost.value(), 3),
        samples=round(tried.samples, 2),
        gain=_gain(pairs),
        gain_at_least=round(pairs.at_least, 4) if math.isfinite(pairs.at_least) else None,
        pairs=round(pairs.weight, 2),
    )


def _gain(pairs: Pairs) -> float | None:
    return round(pairs.mean, 4) if pairs.weight > 0 else None


def _known(one: TriedPlan) -> Tried:
    cost = Average().with_sample(max(1e-6, min(_BOUND, one.measured)), 0.5)
    return Tried(one.predicted, cost, min(5.0, one.samples), 0)


def _paired(one: TriedPlan) -> Pairs | None:
    """How a plan compared with exact's, as far as that was told and can be."""
    if not 0 < one.pairs < _BOUND or one.gain is None or abs(one.gain) >= _BOUND:
        return None
    return Pairs(one.pairs, one.pairs * one.gain, one.pairs * (one.gain**2 + SPREAD**2)).faded(REMEMBERED)
