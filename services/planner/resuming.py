"""A planner that starts continues from what the broker kept, and leaves alone what is good. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from schemas.deployment import Decision, Deployment
from schemas.plan import Plan
from services.planner.events import Action, ClearCurrent, ClearNext, PublishCurrent, PublishNext
from services.planner.fleet import Fleet
from services.planner.rollout_state import GENERATION_LEAP, Rollout, Step, ask, publish, serve, tell_removed
from services.planner.wording import clip


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
    are all usable stays undisturbed, served or being prepared; one that is prepared beside a good one may come to
    nothing without harm. Anything else is decided anew. What stays is said again: to a broker that forgets, the bus
    repeats only what this process has said.
    """
    rollout = Rollout(
        deployment, wish=kept.wish, current=kept.current, decision=kept.decision, generation=kept.generation
    )
    again: tuple[Action, ...] = (PublishCurrent(kept.current),) if kept.current is not None else ()
    if kept.wish is None:
        return _abandoned(rollout, kept)
    stands = kept.current is not None and _stands(kept.current, kept, card_sha, usable)
    if stands:
        rollout = replace(rollout, stands=True, served=_served(kept))
    if kept.next is not None and _stands(kept.next, kept, card_sha, usable):
        heard_s = dict.fromkeys(kept.next.devices, now_s)
        rollout, announced = publish(rollout, kept.decision)
        preparing = replace(rollout, phase="preparing", next=kept.next, optional=stands, began_s=now_s, heard_s=heard_s)
        return preparing, (*again, PublishNext(kept.next), *announced)
    if kept.next is not None:
        again = (*again, ClearNext())
    if stands:
        rollout, announced = serve(replace(rollout, decision=rollout.served))
    else:
        # What comes of it is told even if the broker kept the same words.
        new = kept.current is None and kept.decision is None
        cause = "asked for" if new else "the planner started again, and the plan before did not stand"
        rollout, announced = ask(replace(rollout, decision=None), cause)
    return rollout, (*again, *announced)


def _stands(plan: Plan, kept: Kept, card_sha: str | None, usable: frozenset[str]) -> bool:
    """Whether a kept plan is still the right answer."""
    wish, decision = kept.wish, kept.decision
    return (
        wish is not None
        and decision is not None
        and decision.requested == wish.requested
        and plan.generation in (decision.generation, decision.beside)
        and (plan.model, plan.card_sha) == (wish.model, card_sha)
        and usable.issuperset(plan.devices)
    )


def _served(kept: Kept) -> Decision | None:
    """The decision that `current` came of, or what is known of it when a later one was told."""
    if kept.current is None or kept.decision is None or kept.decision.generation == kept.current.generation:
        return kept.decision
    return Decision(
        deployment=kept.current.deployment,
        generation=kept.current.generation,
        requested=kept.decision.requested,
        state="serving",
        plan=clip(str(kept.current)),
        explanation="It is served on; why it was chosen was told before the planner started again.",
    )


def _abandoned(rollout: Rollout, kept: Kept) -> Step:
    """The wish was taken back while no planner was there."""
    actions: tuple[Action, ...] = (ClearNext(),) if kept.next is not None else ()
    if kept.current is not None:
        actions = (*actions, ClearCurrent())
    if not actions and (kept.decision is None or kept.decision.state == "removed"):
        return rollout, ()
    rollout, announced = tell_removed(replace(rollout, current=None), kept.decision.requested if kept.decision else 0.0)
    return rollout, (*actions, *announced)


def highest_generation(deployment: str, kept: Kept, fleet: Fleet) -> int:
    """The highest generation of a deployment that anybody can have seen; of workers, only what is believable."""
    plans = [plan.generation for plan in (kept.current, kept.next) if plan is not None]
    known = max(0, kept.decision.generation if kept.decision else 0, *plans)
    workers = [device.worker for device in fleet.devices.values() if device.worker is not None]
    held = [stage.generation for worker in workers for stage in worker.stages if stage.deployment == deployment]
    return max(known, *(one for one in held if one <= known + GENERATION_LEAP), 0)
