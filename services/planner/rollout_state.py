"""Where a deployment stands while its plans roll out, and the steps that lead from one state to the next. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from schemas.deployment import Decision, Deployment
from schemas.parts import predicted_parts
from schemas.plan import Plan
from services.planner.events import Action, ClearNext, Decide, PublishDecision, PublishNext
from services.planner.sharing import Use, use_of

Phase = Literal["idle", "deciding", "preparing", "serving", "failed"]

GENERATION_LEAP: Final = 1_000_000
"""A worker cannot hold a generation so far beyond what the planner knows; whoever claims to is not believed."""


@dataclass(frozen=True, slots=True)
class Absence:
    """A device that does not hold what it should serve."""

    since_s: float
    why: str
    loading: bool = False
    """It is about to."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """Where one deployment stands."""

    deployment: str
    phase: Phase = "idle"
    wish: Deployment | None = None
    generation: int = 0
    """The highest seen anywhere; the next plan gets the one after it."""
    ticket: int = 0
    current: Plan | None = None
    stands: bool = False
    """`current` answers the present wish, not one before it."""
    next: Plan | None = None
    optional: bool = False
    """What is under way would be better than `current`, which does: if nothing comes of it, nothing is lost."""
    decision: Decision | None = None
    """As it was told last."""
    served: Decision | None = None
    """That `current` came of."""
    answered: Deployment | None = None
    """The wish that `current` answers, or answered before a later one; None once anything is known against it."""
    progress: Mapping[str, float] = field(default_factory=dict)
    """How far each device of `next` is; only growth matters."""
    heard_s: Mapping[str, float] = field(default_factory=dict)
    """When each device of `next` last made progress."""
    ready: frozenset[str] = frozenset()
    began_s: float = 0.0
    """When `next` began to be prepared."""
    absent: Mapping[str, Absence] = field(default_factory=dict)
    """Devices of `current` that say that they do not hold their stages of it."""
    lost: Mapping[str, str] = field(default_factory=dict)
    """Devices lost, and why, while a plan was made that may count on them."""
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Devices that are left out, and why."""
    outs: Mapping[str, int] = field(default_factory=dict)
    """How often each has been left out of what this wish led to."""
    until_s: Mapping[str, float] = field(default_factory=dict)
    """When each gets another chance."""
    claims: frozenset[str] = frozenset()
    """Devices on which it waits for its share of the memory."""
    retry_at_s: float = math.inf


Step = tuple[Rollout, tuple[Action, ...]]


def ask(rollout: Rollout, cause: str, *, hurry: bool = False, optional: bool = False) -> Step:
    """Have a plan made, and drop the one that is being prepared."""
    wish = rollout.wish
    if wish is None:
        return rollout, ()
    actions: tuple[Action, ...] = (ClearNext(),) if rollout.next is not None else ()
    ticket = rollout.ticket + 1
    rollout = replace(
        _unprepared(rollout), phase="deciding", ticket=ticket, optional=optional, retry_at_s=math.inf, lost={},
        answered=rollout.answered if optional else None,
    )  # fmt: skip
    serving = rollout.current if rollout.stands else None
    return rollout, (*actions, Decide(ticket, wish, rollout.excluded, serving, cause, hurry))


def prepare(rollout: Rollout, plan: Plan, decision: Decision, now_s: float, *, optional: bool = False) -> Step:
    """Have the workers get ready for a plan, as the next generation."""
    generation = rollout.generation + 1
    plan = plan.model_copy(update={"generation": generation})
    beside = rollout.current.generation if optional and rollout.current is not None else 0
    decision = decision.model_copy(update={"generation": generation, "state": "preparing", "beside": beside})
    rollout = replace(
        rollout, phase="preparing", generation=generation, next=plan, optional=optional, decision=decision,
        claims=frozenset(), began_s=now_s,
        progress={}, heard_s=dict.fromkeys(plan.devices, now_s), ready=frozenset(),
    )  # fmt: skip
    return rollout, (PublishNext(plan), PublishDecision(decision))


def serve(rollout: Rollout) -> Step:
    """`current` is served from now on, by the decision told last."""
    decision = rollout.decision and rollout.decision.model_copy(update={"state": "serving", "beside": 0})
    rollout = replace(
        _unprepared(rollout), phase="serving", stands=True, served=decision, answered=rollout.wish, absent={}
    )
    return publish(rollout, decision)


def stay(rollout: Rollout) -> Step:
    """Give the plan that is being prepared up, and go on with the one being served."""
    actions: tuple[Action, ...] = (ClearNext(),) if rollout.next is not None else ()
    rollout, announced = publish(replace(_unprepared(rollout), phase="serving"), rollout.served)
    return rollout, (*actions, *announced)


def publish(rollout: Rollout, decision: Decision | None) -> Step:
    """Tell a decision, where there is one."""
    if decision is None:
        return rollout, ()
    return replace(rollout, decision=decision), (PublishDecision(decision),)


def tell_removed(rollout: Rollout, requested: float) -> Step:
    """The generation stays readable on the broker, so that a deployment that comes back continues from it."""
    decision = Decision(
        deployment=rollout.deployment, generation=rollout.generation, requested=requested, state="removed"
    )
    return publish(rollout, decision)


def uses_of(rollouts: Iterable[Rollout]) -> tuple[Use, ...]:
    """Which devices each deployment that is wanted uses, or is about to."""
    return tuple(
        use_of((one.current, one.next), one.deployment, one.wish.weight, claims=one.claims)
        for one in rollouts
        if one.wish is not None
    )


def longest_step_ms(rollouts: Iterable[Rollout], device: str) -> float:
    """The longest step of work that a plan has for a device; frames handled together count together."""
    plans = [plan for one in rollouts for plan in (one.current, one.next) if plan is not None]
    return max(
        (
            predicted.compute_ms * route.together
            for plan in plans
            for number, route in enumerate(plan.routes)
            for part, predicted in predicted_parts(route, number)
            if part.device == device
        ),
        default=0.0,
    )


def _unprepared(rollout: Rollout) -> Rollout:
    return replace(rollout, next=None, optional=False, progress={}, heard_s={}, ready=frozenset())
