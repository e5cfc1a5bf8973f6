"""Make before break for one deployment: a pure state machine from events to actions.

    wanted -> Decide -> planned -> `next` (preparing) -> every device ready -> `current` (serving)

Values in, values out: no clock, no bus. `advance` takes the time as a number, and what must be done comes back as
actions for the service to carry out in order. A device that fails, dies or dawdles is planned around; nothing is ever
served by a half-ready plan. A plan that is merely better than the one being served (`Drifted`) is prepared the same
way, and dropped as soon as anything is in its way.
"""

from __future__ import annotations

import math
from dataclasses import replace

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
    Unfit,
    Wanted,
)
from services.planner.evidence import evidence
from services.planner.leaving_out import STEP, absent_too_long, late, leave_out, reconsidered, with_absence
from services.planner.patience import Patience
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
            step = _held(_seen(rollout, held), held, now_s, patience)
        case Lost(device, why):
            step = _lost(rollout, device, why)
        case Unfit():
            step = _unfit(rollout, event, now_s, patience)
        case Drifted() | Squeezed():
            if rollout.phase == "serving":
                step = _proposed(rollout, event, now_s)
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
    rollout = replace(rollout, wish=wish, excluded={}, outs={}, until_s={}, stands=False)
    if wish == rollout.answered:
        return _again(rollout)
    answered = rollout.answered
    rollout, actions = ask(rollout, "asked for")
    return replace(rollout, answered=answered), actions


def _again(rollout: Rollout) -> Step:
    """A change was taken back, and the plan that it was to replace has served all the time."""
    rollout, actions = stay(replace(rollout, ticket=rollout.ticket + 1, stands=True, claims=frozenset(), lost={}))
    return replace(rollout, retry_at_s=math.inf), (Forget(), *actions)


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
            lost = [f"{name}: {why}" for name, why in rollout.lost.items() if name in plan.devices]
            if lost:
                return ask(rollout, "; ".join(lost), hurry=rollout.stands, optional=rollout.optional)
            return prepare(rollout, plan, decision, now_s, optional=rollout.optional)
        case Refused():
            return stay(rollout) if rollout.optional else _refused(rollout, event, now_s, patience)
        case Profiling(_, decision):
            return publish(rollout, decision)


def _relies_on(rollout: Rollout) -> bool:
    """Whether `current` is what serves the wish, with nothing known against it."""
    return rollout.current is not None and (rollout.phase == "serving" or rollout.optional)


def _refused(rollout: Rollout, event: Refused, now_s: float, patience: Patience) -> Step:
    """There is no plan: wait, for room that others make if that would help. It is told once in the same words."""
    told = event.decision == rollout.decision
    wait_s = patience.room_s if event.over and not told else patience.retry_s
    failed = replace(rollout, phase="failed", retry_at_s=now_s + wait_s, claims=event.claims)
    failed, announced = (failed, ()) if told else publish(failed, event.decision)
    return failed, (*announced, *([Squeeze(event.over)] if event.over else ()))


def _lost(rollout: Rollout, device: str, why: str) -> Step:
    """It matters where the device has work; of a decision under way, that is known when it is made."""
    serving = rollout.current is not None and device in rollout.current.devices
    rollout = _doubting(rollout, doubtful=serving)
    upcoming = rollout.next is not None and device in rollout.next.devices
    if rollout.phase == "preparing" and rollout.optional and upcoming and not serving:
        return stay(rollout)
    if rollout.phase == "deciding":
        rollout = replace(rollout, lost={**rollout.lost, device: why})
    depends = {
        "deciding": serving and rollout.optional,
        "preparing": upcoming or (rollout.optional and serving),
        "serving": serving,
    }
    return (
        ask(rollout, f"{device}: {why}", hurry=rollout.stands) if depends.get(rollout.phase, False) else (rollout, ())
    )


def _proposed(rollout: Rollout, event: Drifted | Squeezed, now_s: float) -> Step:
    match event:
        case Drifted(generation, plan, decision):
            if rollout.current is not None and rollout.current.generation == generation:
                return prepare(rollout, plan, decision, now_s, optional=True)
        case Squeezed(by):
            if rollout.stands:
                return ask(rollout, f"{by} needs its share of memory", hurry=True, optional=True)
    return rollout, ()


def _unfit(rollout: Rollout, event: Unfit, now_s: float, patience: Patience) -> Step:
    serving = rollout.current if _relies_on(rollout) else None
    if serving is None or serving.generation != event.generation or event.device not in serving.devices:
        return rollout, ()
    return leave_out(rollout, {event.device: event.why}, now_s, patience, needed=True)


def _held(rollout: Rollout, held: StagesHeld, now_s: float, patience: Patience) -> Step:
    if not held.online:
        return rollout, ()
    if rollout.current is not None:
        said = evidence(rollout.current, held)
        rollout = _doubting(rollout, doubtful=not said.ready and held.device in rollout.current.devices)
        if _relies_on(rollout):
            if said.error:
                return leave_out(rollout, {held.device: said.error}, now_s, patience, needed=True)
            rollout = with_absence(rollout, held.device, said, now_s)
    if rollout.next is not None and held.device in rollout.next.devices:
        return _preparing(rollout, rollout.next, held, now_s, patience)
    return rollout, ()


def _doubting(rollout: Rollout, *, doubtful: bool) -> Rollout:
    return replace(rollout, answered=None) if doubtful else rollout


def _preparing(rollout: Rollout, plan: Plan, held: StagesHeld, now_s: float, patience: Patience) -> Step:
    said = evidence(plan, held)
    device = held.device
    if said.error:
        return leave_out(rollout, {device: said.error}, now_s, patience)
    if said.progress >= rollout.progress.get(device, 0.0) + STEP:
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


def _improved(rollout: Rollout, device: str | None, now_s: float, patience: Patience) -> Step:
    if device is None:
        return ask(rollout, "the library changed") if rollout.phase == "failed" else (rollout, ())
    left = {name: why for name, why in rollout.excluded.items() if name != device}
    soon_s = now_s + patience.settle_s if rollout.phase == "failed" else math.inf
    lost = {name: why for name, why in rollout.lost.items() if name != device}
    return replace(rollout, excluded=left, lost=lost, retry_at_s=min(rollout.retry_at_s, soon_s)), ()


def _tick(rollout: Rollout, now_s: float, patience: Patience) -> Step:
    if rollout.phase == "failed" and now_s >= rollout.retry_at_s:
        return ask(replace(rollout, excluded={}), "tried again")
    absent = absent_too_long(rollout, now_s, patience)
    if absent and _relies_on(rollout):
        return leave_out(rollout, absent, now_s, patience, needed=True)
    slow = late(rollout, now_s, patience) if rollout.phase == "preparing" else {}
    if slow:
        return leave_out(rollout, slow, now_s, patience)
    return (reconsidered(rollout, now_s) if rollout.phase == "serving" else rollout), ()


def _seen(rollout: Rollout, held: StagesHeld) -> Rollout:
    """A generation that some worker still holds is never given out again."""
    known = rollout.generation
    claimed = [s.generation for s in held.stages if s.deployment == rollout.deployment]
    highest = max((one for one in claimed if one <= known + GENERATION_LEAP), default=0)
    return replace(rollout, generation=highest) if highest > known else rollout
