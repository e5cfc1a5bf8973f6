"""Make before break for one deployment: a pure state machine from events to actions.

    wanted -> Decide -> planned -> `next` (preparing) -> every device ready -> `current` (serving)

Values in, values out: no clock, no bus. `advance` takes the time as a number, and what must be done comes back as
actions for the service to carry out in order. A device that fails, dies or dawdles is planned around; nothing is ever
served by a half-ready plan.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from schemas.deployment import Decision, Deployment
from schemas.plan import Plan
from schemas.stages import StagesHeld
from services.planner.events import (
    Action,
    ClearCurrent,
    ClearNext,
    Decide,
    Event,
    Forget,
    Held,
    Improved,
    Lost,
    Planned,
    Profiling,
    PublishCurrent,
    PublishDecision,
    PublishNext,
    Refused,
    Tick,
    Wanted,
)
from services.planner.evidence import evidence

Phase = Literal["idle", "deciding", "preparing", "serving", "failed"]


GENERATION_LEAP: Final = 1_000_000
"""A worker cannot hold a generation so far beyond what the planner knows; whoever claims to is not believed."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, seconds."""

    ready_s: float = 60.0
    """For a device to get ready, counted from its last progress."""
    retry_s: float = 30.0
    """Before another try when there was no plan: devices that were left out get another chance then."""
    settle_s: float = 1.0
    """After a device joined and before planning with it: machines switched on together are planned together."""


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
    decision: Decision | None = None
    progress: Mapping[str, float] = field(default_factory=dict)
    """How far each device of `next` is; only growth matters."""
    heard_s: Mapping[str, float] = field(default_factory=dict)
    """When each device of `next` last made progress."""
    ready: frozenset[str] = frozenset()
    excluded: Mapping[str, str] = field(default_factory=dict)
    retry_at_s: float = math.inf


Step = tuple[Rollout, tuple[Action, ...]]


def advance(rollout: Rollout, event: Event, *, now_s: float, patience: Patience) -> Step:
    """The next state and what to do, in order. `now_s` is any clock that only grows."""
    step: Step = (rollout, ())
    match event:
        case Profiling(ticket) | Planned(ticket) | Refused(ticket):
            # An answer to a question that is no longer asked is dropped.
            if ticket == rollout.ticket and rollout.phase == "deciding":
                step = _answered(rollout, event, now_s, patience)
        case Wanted(wish):
            step = _wanted(rollout, wish)
        case Held(held):
            step = _held(_seen(rollout, held), held, now_s)
        case Lost(device):
            step = _decide(rollout) if _depends_on(rollout, device) else step
        case Improved(device):
            step = _improved(rollout, device, now_s, patience)
        case Tick():
            step = _tick(rollout, now_s, patience)
    return step


@dataclass(frozen=True, slots=True)
class Kept:
    """What the broker kept of a deployment while no planner was there."""

    wish: Deployment | None = None
    current: Plan | None = None
    next: Plan | None = None
    decision: Decision | None = None
    generation: int = 0
    """The highest that anybody has seen."""


def resume(deployment: str, kept: Kept, *, card_sha: str | None, usable: frozenset[str], now_s: float) -> Step:
    """Continue from what the broker kept.

    A plan that answers this very wish, was made from the model as the library has it (`card_sha`), and whose devices
    are all usable stays undisturbed, served or being prepared. Anything else is decided anew. What stays is said
    again: to a broker that forgets, the bus repeats only what this process has said.
    """
    rollout = Rollout(
        deployment, wish=kept.wish, current=kept.current, decision=kept.decision, generation=kept.generation
    )
    again: tuple[Action, ...] = (PublishCurrent(kept.current),) if kept.current is not None else ()
    if kept.wish is None:
        return _abandoned(rollout, kept)
    if kept.next is not None and _stands(kept.next, kept, card_sha, usable):
        heard_s = dict.fromkeys(kept.next.devices, now_s)
        rollout, announced = _publish(rollout, kept.decision)
        preparing = replace(rollout, phase="preparing", next=kept.next, heard_s=heard_s)
        return preparing, (*again, PublishNext(kept.next), *announced)
    if kept.next is not None:
        again = (*again, ClearNext())
    if kept.current is not None and _stands(kept.current, kept, card_sha, usable):
        rollout, announced = _serving(rollout)
    else:
        # What comes of it is told even if the broker kept the same words.
        rollout, announced = _decide(replace(rollout, decision=None))
    return rollout, (*again, *announced)


def _stands(plan: Plan, kept: Kept, card_sha: str | None, usable: frozenset[str]) -> bool:
    """Whether a kept plan is still the right answer."""
    wish, decision = kept.wish, kept.decision
    return (
        wish is not None
        and decision is not None
        and (decision.requested, decision.generation) == (wish.requested, plan.generation)
        and (plan.model, plan.card_sha) == (wish.model, card_sha)
        and usable.issuperset(plan.devices)
    )


def _abandoned(rollout: Rollout, kept: Kept) -> Step:
    """The wish was taken back while no planner was there."""
    actions: tuple[Action, ...] = (ClearNext(),) if kept.next is not None else ()
    if kept.current is not None:
        actions = (*actions, ClearCurrent())
    if not actions and (kept.decision is None or kept.decision.state == "removed"):
        return rollout, ()
    rollout, announced = _tell_removed(
        replace(rollout, current=None), kept.decision.requested if kept.decision else 0.0
    )
    return rollout, (*actions, *announced)


def _wanted(rollout: Rollout, wish: Deployment | None) -> Step:
    if wish is None:
        return _removed(rollout)
    if wish == rollout.wish:
        return rollout, ()
    return _decide(replace(rollout, wish=wish, excluded={}, stands=False))


def _removed(rollout: Rollout) -> Step:
    if rollout.wish is None:
        return rollout, ()
    actions: list[Action] = [Forget()]
    if rollout.next is not None:
        actions.append(ClearNext())
    if rollout.current is not None:
        actions.append(ClearCurrent())
    gone = Rollout(rollout.deployment, ticket=rollout.ticket + 1, generation=rollout.generation)
    gone, announced = _tell_removed(gone, rollout.wish.requested)
    return gone, (*actions, *announced)


def _tell_removed(rollout: Rollout, requested: float) -> Step:
    """The generation stays readable on the broker, so that a deployment that comes back continues from it."""
    decision = Decision(
        deployment=rollout.deployment, generation=rollout.generation, requested=requested, state="removed"
    )
    return _publish(rollout, decision)


def _decide(rollout: Rollout) -> Step:
    wish = rollout.wish
    if wish is None:
        return rollout, ()
    actions: tuple[Action, ...] = (ClearNext(),) if rollout.next is not None else ()
    ticket = rollout.ticket + 1
    rollout = replace(
        rollout, phase="deciding", ticket=ticket, next=None, progress={}, heard_s={}, ready=frozenset(),
        retry_at_s=math.inf,
    )  # fmt: skip
    serving = rollout.current if rollout.stands else None
    return rollout, (*actions, Decide(ticket, wish, rollout.excluded, serving))


def _answered(rollout: Rollout, event: Profiling | Planned | Refused, now_s: float, patience: Patience) -> Step:
    match event:
        case Planned(_, plan, decision):
            return _prepare(rollout, plan, decision, now_s)
        case Refused(_, decision):
            told = decision == rollout.decision
            failed = replace(rollout, phase="failed", retry_at_s=now_s + patience.retry_s)
            return (failed, ()) if told else _publish(failed, decision)
        case Profiling(_, decision):
            return _publish(rollout, decision)


def _prepare(rollout: Rollout, plan: Plan, decision: Decision, now_s: float) -> Step:
    generation = rollout.generation + 1
    plan = plan.model_copy(update={"generation": generation})
    decision = decision.model_copy(update={"generation": generation, "state": "preparing"})
    rollout = replace(
        rollout, phase="preparing", generation=generation, next=plan, decision=decision,
        progress={}, heard_s=dict.fromkeys(plan.devices, now_s), ready=frozenset(),
    )  # fmt: skip
    return rollout, (PublishNext(plan), PublishDecision(decision))


def _publish(rollout: Rollout, decision: Decision | None) -> Step:
    if decision is None:
        return rollout, ()
    return replace(rollout, decision=decision), (PublishDecision(decision),)


def _held(rollout: Rollout, held: StagesHeld, now_s: float) -> Step:
    if not held.online:
        return rollout, ()
    if rollout.next is not None and held.device in rollout.next.devices:
        return _preparing(rollout, rollout.next, held, now_s)
    if rollout.current is not None and rollout.phase == "serving":
        error = evidence(rollout.current, held).error
        if error:
            return _leave_out(rollout, {held.device: error})
    return rollout, ()


def _preparing(rollout: Rollout, plan: Plan, held: StagesHeld, now_s: float) -> Step:
    said = evidence(plan, held)
    device = held.device
    if said.error:
        return _leave_out(rollout, {device: said.error})
    if said.progress > rollout.progress.get(device, 0.0):
        rollout = replace(
            rollout,
            progress={**rollout.progress, device: said.progress},
            heard_s={**rollout.heard_s, device: now_s},
        )
    ready = rollout.ready | {device} if said.ready else rollout.ready - {device}
    rollout = replace(rollout, ready=ready)
    if not ready.issuperset(plan.devices):
        return rollout, ()
    rollout, announced = _serving(replace(rollout, current=plan, next=None))
    return rollout, (PublishCurrent(plan), ClearNext(), *announced)


def _serving(rollout: Rollout) -> Step:
    rollout = replace(rollout, phase="serving", stands=True, progress={}, heard_s={}, ready=frozenset())
    decision = rollout.decision
    return _publish(rollout, decision and decision.model_copy(update={"state": "serving"}))


def _leave_out(rollout: Rollout, reasons: Mapping[str, str]) -> Step:
    return _decide(replace(rollout, excluded={**rollout.excluded, **reasons}))


def _improved(rollout: Rollout, device: str | None, now_s: float, patience: Patience) -> Step:
    if device is None:
        return _decide(rollout) if rollout.phase == "failed" else (rollout, ())
    left = {name: why for name, why in rollout.excluded.items() if name != device}
    soon_s = now_s + patience.settle_s if rollout.phase == "failed" else math.inf
    return replace(rollout, excluded=left, retry_at_s=min(rollout.retry_at_s, soon_s)), ()


def _tick(rollout: Rollout, now_s: float, patience: Patience) -> Step:
    if rollout.phase == "failed" and now_s >= rollout.retry_at_s:
        return _decide(replace(rollout, excluded={}))
    late = {
        device: f"did not get ready: no progress for {patience.ready_s:g} s"
        for device, heard_s in rollout.heard_s.items()
        if device not in rollout.ready and now_s - heard_s >= patience.ready_s
    }
    return _leave_out(rollout, late) if rollout.phase == "preparing" and late else (rollout, ())


def _depends_on(rollout: Rollout, device: str) -> bool:
    """Whether losing the device changes anything: a decision under way may have counted on any device."""
    match rollout.phase:
        case "deciding":
            return True
        case "preparing":
            return rollout.next is not None and device in rollout.next.devices
        case "serving":
            return rollout.current is not None and device in rollout.current.devices
        case "idle" | "failed":
            return False


def _seen(rollout: Rollout, held: StagesHeld) -> Rollout:
    """A generation that some worker still holds is never given out again."""
    known = rollout.generation
    claimed = [s.generation for s in held.stages if s.deployment == rollout.deployment]
    highest = max((one for one in claimed if one <= known + GENERATION_LEAP), default=0)
    return replace(rollout, generation=highest) if highest > known else rollout
