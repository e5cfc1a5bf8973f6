"""What is asked of a served plan, and its answer: the review of it on the facts of this moment. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from schemas.deployment import Deployment
from schemas.model import ModelCard
from schemas.plan import Plan
from services.planner.careful import careful
from services.planner.cost import problem_from
from services.planner.exit_rules import allowed_rules
from services.planner.exit_shares import NO_SHARES, ExitShares
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.held import Held
from services.planner.review import Review, review
from services.planner.rows_known import RowsKnown


@dataclass(frozen=True, slots=True)
class Question:
    """Everything a review needs."""

    wish: Deployment
    card: ModelCard
    facts: tuple[DeviceFacts, ...]
    hub: HubFacts
    serving: Plan
    held: Held
    exact: frozenset[str]
    """Devices whose quota has changed since a review last found that nothing speaks for moving."""
    shares: ExitShares = NO_SHARES
    """How many requests were seen to leave at exits."""
    rows: RowsKnown | None = None
    """How the model's rows may be shared; None where they cannot be, or are not wanted to be."""


def consider(question: Question) -> Review:
    """Compare the served plan with the best. Pure; computes for a while, so it belongs in a thread.

    Raises:
        services.planner.errors.PlanningError: the policy has no plan on these facts.
    """
    cuts = [
        border for route in question.serving.routes for stage in route.stages for border in (stage.first, stage.last)
    ]
    make = partial(
        problem_from, question.card, question.wish, question.facts, question.hub, keep=cuts, rows=question.rows
    )
    served = make(exits=question.shares.now(question.card, question.serving))
    open_to_choice = allowed_rules(question.card, question.wish, question.shares)
    choices = [served if rules == served.exits else make(exits=rules) for rules in open_to_choice]
    policy = careful(question.wish.policy)
    return review(served, policy, question.serving, question.held, exact=question.exact, choices=choices)
