"""Make before break for one deployment: a pure state machine from events to actions.

    wanted -> Decide -> planned -> `next` (preparing) -> every device ready -> `current` (serving)

Values in, values out: no clock, no bus. `advance` takes the time as a number, and what must be done comes back as
actions for the service to carry out in order. A device that fails, dies or dawdles is planned around; nothing is ever
served by a half-ready plan. A plan that is merely better than the one being served (`Drifted`) is prepared the same
way, and dropped as soon as anything is in its way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from schemas.deployment import Deployment
from schemas.plan import Plan
from schemas.stages import StagesHeld
from services.planner.events import (
    Action,
    ClearCurrent,
    ClearNext,
    Drifted,
    Event,
    Forget,
    Held,
    Improved,
    Lost,
    Planned,
    Profiling,
    PublishCurrent,
    Refused,
    Squeeze,
    Squeezed,
    Tick,
    Wanted,
)
from services.planner.evidence import evidence
from services.planner.rollout_state import (
    GENERATION_LEAP,
    Rollout,
    Step,
    ask,
    prepare,
    publish,
    serve,
    stay,
    tell_removed,
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, seconds."""

    room_s: float = 3.0
    """Before another try when other deployments have been told to make room."""

    ready_s: float = 60.0
    """For a device to get ready, counted from its last progress."""
    retry_s: float = 30.0
    """Before another try when there was no plan: devices that were left out get another chance then."""
    settle_s: float = 1.0
    """After a device joined and before planning with it: machines switched on together are planned together."""


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
        case Lost(device, why):
            step = _lost(rollout, device, f"{device}: {why}")
        case Drifted(generation, plan, decision):
            if rollout.phase == "serving" and rollout.current and rollout.current.generation == generation:
                step = prepare(rollout, plan, decision, now_s, optional=True)
        case Squeezed(by):
            if rollout.phase == "serving" and rollout.stands:
                step = ask(rollout, f"{by} needs its share of memory", hurry=True, optional=True)
        case Improved(device):
            step = _improved(rollout, device, now_s, patience)
        case Tick():
            step = _tick(rollout, now_s, patience)
    return step


def _wanted(rollout: Rollout, wish: Deployment | None) -> Step:
    if wish is None:
        return _removed(rollout)
    if wish == rollout.wish:
        return rollout, ()
    return ask(replace(rollout, wish=wish, excluded={}, stands=False), "asked for")


def _removed(rollout: Rollout) -> Step:
    if rollout.wish is None:
        return rollout, ()
    actions: list[Action] = [Forget()]
    if rollout.next is not None:
        actions.append(ClearNext())
    if rollout.current is not None:
        actions.append(ClearCurrent())
    gone = Rollout(rollout.deployment, ticket=rollout.ticket + 1, generation=rollout.generation)
    gone, announced = tell_removed(gone, rollout.wish.requested)
    return gone, (*actions, *announced)


def _answered(rollout: Rollout, event: Profiling | Planned | Refused, now_s: float, patience: Patience) -> Step:
    match event:
        case Planned(_, plan, decision):
            return prepare(rollout, plan, decision, now_s, optional=rollout.optional)
        case Refused():
            return stay(rollout) if rollout.optional else _refused(rollout, event, now_s, patience)
        case Profiling(_, decision):
            return publish(rollout, decision)


def _refused(rollout: Rollout, event: Refused, now_s: float, patience: Patience) -> Step:
    """There is no plan: wait, for room that others make if that would help. It is told once in the same words."""
    told = event.decision == rollout.decision
    wait_s = patience.room_s if event.over and not told else patience.retry_s
    failed = replace(rollout, phase="failed", retry_at_s=now_s + wait_s, claims=event.claims)
    failed, announced = (failed, ()) if told else publish(failed, event.decision)
    return failed, (*announced, *([Squeeze(event.over)] if event.over else ()))


def _lost(rollout: Rollout, device: str, cause: str) -> Step:
    """A decision under way may have counted on any device; else it matters where the device has work."""
    serving = rollout.current is not None and device in rollout.current.devices
    upcoming = rollout.next is not None and device in rollout.next.devices
    if rollout.phase == "preparing" and rollout.optional and upcoming and not serving:
        return stay(rollout)
    depends = {
        "deciding": serving or not rollout.optional,
        "preparing": upcoming or (rollout.optional and serving),
        "serving": serving,
    }
    return ask(rollout, cause, hurry=rollout.stands) if depends.get(rollout.phase, False) else (rollout, ())


def _held(rollout: Rollout, held: StagesHeld, now_s: float) -> Step:
    if not held.online:
        return rollout, ()
    if rollout.current is not None and (rollout.phase == "serving" or rollout.optional):
        error = evidence(rollout.current, held).error
        if error:
            return _leave_out(rollout, {held.device: error}, needed=True)
    if rollout.next is not None and held.device in rollout.next.devices:
        return _preparing(rollout, rollout.next, held, now_s)
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
    rollout, announced = serve(replace(rollout, current=plan))
    return rollout, (PublishCurrent(plan), ClearNext(), *announced)


def _leave_out(rollout: Rollout, reasons: Mapping[str, str], *, needed: bool = False) -> Step:
    """Plan without some devices; where they were only wanted for something better, go on with what there is."""
    rollout = replace(rollout, excluded={**rollout.excluded, **reasons})
    if rollout.optional and not needed:
        return stay(rollout)
    return ask(rollout, "; ".join(f"{device} {why}" for device, why in reasons.items()), hurry=needed)


def _improved(rollout: Rollout, device: str | None, now_s: float, patience: Patience) -> Step:
    if device is None:
        return ask(rollout, "the library changed") if rollout.phase == "failed" else (rollout, ())
    left = {name: why for name, why in rollout.excluded.items() if name != device}
    soon_s = now_s + patience.settle_s if rollout.phase == "failed" else math.inf
    return replace(rollout, excluded=left, retry_at_s=min(rollout.retry_at_s, soon_s)), ()


def _tick(rollout: Rollout, now_s: float, patience: Patience) -> Step:
    if rollout.phase == "failed" and now_s >= rollout.retry_at_s:
        return ask(replace(rollout, excluded={}), "tried again")
    late = {
        device: f"did not get ready: no progress for {patience.ready_s:g} s"
        for device, heard_s in rollout.heard_s.items()
        if device not in rollout.ready and now_s - heard_s >= patience.ready_s
    }
    return _leave_out(rollout, late) if rollout.phase == "preparing" and late else (rollout, ())


def _seen(rollout: Rollout, held: StagesHeld) -> Rollout:
    """A generation that some worker still holds is never given out again."""
    known = rollout.generation
    claimed = [s.generation for s in held.stages if s.deployment == rollout.deployment]
    highest = max((one for one in claimed if one <= known + GENERATION_LEAP), default=0)
    return replace(rollout, generation=highest) if highest > known else rollout
