"""Asking for a model to be served, and following what the planner and the workers make of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Final

from broker.bus import Bus
from broker.delivery import Delivery
from models.catalog import names
from schemas.deployment import Decision, Deployment
from schemas.plan import Plan
from schemas.stages import StagesHeld
from schemas.topics import DEPLOYMENT, DEVICE_STAGES, HUB_STATUS, MODEL_CARD, PLAN_CURRENT, PLAN_DECISION
from services.planner.evidence import evidence
from services.planner.hub_presence import HEARTBEAT_S, is_alive

SILENT_S: Final = 10.0
_HEARD_S: Final = 2.5 * HEARTBEAT_S
"""A planner that lives was heard by then."""
_MOST_OF: Final = 0.9
"""Of the time that somebody waits: a planner that hangs is told as such, not as the time being over."""


class NoPlannerError(Exception):
    """No planner is there to ask; the message says how to start one."""

    def __init__(self) -> None:
        super().__init__(
            "no planner is running at this broker. Start one: `stageline hub` (or stageline-planner, where the broker "
            "runs already)"
        )


class SilentPlannerError(Exception):
    """A planner is there by name and does nothing; the message says what to do."""

    def __init__(self, then: str) -> None:
        super().__init__(
            "the planner does not answer: it is online, but gives no sign of life. Start it again on the hub "
            f"(systemctl restart stageline-planner, or `stageline hub`); it then {then}, which stays asked for"
        )


class NoSuchModelError(LookupError):
    """The planner's library has no such model; lists those it has."""

    def __init__(self, model: str, there: list[str]) -> None:
        have = f"it has {', '.join(sorted(there))}" if there else "it is empty"
        how = f"`stageline import {model}`"
        if model not in names():
            how = f"`stageline import MODEL --name {model}`, where MODEL is a file or a network (import --help)"
        super().__init__(f"no model {model!r} in the hub's library ({have}). Import it there: {how}")


class DeployFailedError(Exception):
    """It is not served; the message is the planner's (`refused`: there is no plan), or says how long was waited."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Rollout:
    """How far a deployment has come; `devices` maps each named device to its share done, 0 to 1, and its state."""

    decision: Decision | None = None
    devices: Mapping[str, tuple[float, str]] = field(default_factory=dict)


async def check_model(bus: Bus, model: str) -> None:
    """Say early what would otherwise only be noticed when the wish goes unheard.

    Raises:
        NoPlannerError, NoSuchModelError: said in their messages.
    """
    if not any(status.message.online for status in await bus.snapshot(HUB_STATUS)):
        raise NoPlannerError
    there = [delivery.parameters["model"] for delivery in await bus.snapshot(MODEL_CARD)]
    if model not in there:
        raise NoSuchModelError(model, there)


def stands(plan: Plan, reports: Iterable[StagesHeld]) -> bool:
    """Whether one whole route of the plan is ready, going by what workers hold."""
    ready = {held.device for held in reports if held.online and evidence(plan, held).ready}
    return any(ready.issuperset(route.devices) for route in plan.routes)


async def still_served(bus: Bus, deployment: str) -> Plan | None:
    """The plan that serves whatever became of a later wish: one whole route of it stands ready."""
    for current in await bus.snapshot(PLAN_CURRENT, deployment=deployment):
        if stands(current.message, [one.message for one in await bus.snapshot(DEVICE_STAGES)]):
            return current.message
    return None


async def wish_of(bus: Bus, deployment: str) -> Deployment | None:
    """What is asked for under this name."""
    return next((one.message for one in await bus.snapshot(DEPLOYMENT, deployment=deployment)), None)


async def is_served(bus: Bus, wish: Deployment) -> bool:
    """Whether the planner says that this very wish is served; it may be preparing something better meanwhile."""
    decisions = [one.message for one in await bus.snapshot(PLAN_DECISION, deployment=wish.deployment)]
    return any(
        one.requested == wish.requested and (one.state == "serving" or (one.beside > 0 and not one.error))
        for one in decisions
    )


async def take_back(bus: Bus, refused: Deployment, before: Deployment) -> bool:
    """Ask for what was asked for before, word for word, unless somebody has asked for something else meanwhile.

    Otherwise a change that was refused would be asked for on and on, and decide what serves after the next loss.
    """
    if await wish_of(bus, refused.deployment) != refused:
        return False
    await bus.publish(DEPLOYMENT, before, remember=False, deployment=before.deployment)
    return True


def refusal(error: str, served: Plan) -> str:
    """What to say of a wish that there is no plan for, while the plan before it serves."""
    return f"the change was refused: {error.rstrip('.')}; generation {served.generation} goes on serving"


async def deploy(
    bus: Bus,
    wish: Deployment,
    *,
    timeout_s: float = 180.0,
    silent_s: float = SILENT_S,
    tell: Callable[[Rollout], None] = lambda _: None,
) -> Decision:
    """Publish `wish` and wait until it is served.

    Args:
        bus: an open bus.
        wish: `requested` must be new, so that the answer to this wish is told from the answer to an earlier one.
        timeout_s: for all of it: measuring, planning, fetching weights, warming up.
        silent_s: a planner that is not heard of for so long does not work.
        tell: called with each step forward.

    Raises:
        SilentPlannerError: the planner does not answer.
        DeployFailedError: the planner says that it cannot be, or it took too long.
    """
    async with (
        bus.subscribe(PLAN_DECISION, deployment=wish.deployment) as decisions,
        bus.subscribe(DEVICE_STAGES) as stages,
    ):
        follower = _Follower(wish, tell)
        await bus.publish(DEPLOYMENT, wish, remember=False, deployment=wish.deployment)
        watching = asyncio.create_task(follower.watch_stages(stages))
        settling = asyncio.create_task(follower.until_settled(decisions))
        silence = asyncio.create_task(until_silent(bus, silence_within(timeout_s, silent_s)))
        try:
            await asyncio.wait({settling, silence}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if settling.done():
                return settling.result()
            if silence.done():
                silence.result()
                raise SilentPlannerError(f"plans {wish.deployment}")
            raise DeployFailedError(follower.why_late(timeout_s))
        finally:
            tasks = (watching, settling, silence)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def silence_within(timeout_s: float, silent_s: float) -> float:
    """After how long a planner counts as silent for somebody who waits so long, s."""
    return min(silent_s, max(_HEARD_S, _MOST_OF * timeout_s))


async def until_silent(bus: Bus, silent_s: float) -> None:
    """Return when the planner is not heard of for so long, though the broker is."""
    while await is_alive(bus, within_s=silent_s) or not bus.connected:
        pass


class _Follower:
    def __init__(self, wish: Deployment, tell: Callable[[Rollout], None]) -> None:
        self._wish = wish
        self._tell = tell
        self._held: dict[str, StagesHeld] = {}
        self._decision: Decision | None = None

    async def until_settled(self, decisions: AsyncIterator[Delivery[Decision]]) -> Decision:
        async for delivery in decisions:
            decision = delivery.message
            # Removing it by hand is not this wish's answer, but it ends the waiting all the same.
            removed = decision.state == "removed" and not delivery.retained
            if decision.requested != self._wish.requested and not removed:
                continue
            self._decision = decision
            self._tell(self._rollout())
            if decision.state == "serving":
                return decision
            if decision.state in ("failed", "removed"):
                why = decision.error or "somebody removed the deployment meanwhile"
                raise DeployFailedError(why, refused=decision.state == "failed")
        raise DeployFailedError("the bus was closed")

    async def watch_stages(self, stages: AsyncIterator[Delivery[StagesHeld]]) -> None:
        async for delivery in stages:
            self._held[delivery.message.device] = delivery.message
            self._tell(self._rollout())

    def why_late(self, timeout_s: float) -> str:
        state = "has not answered" if self._decision is None else f"is still {self._decision.state}"
        return (
            f"not served within {timeout_s:g} s: the planner {state}. It goes on trying; `stageline plan "
            f"{self._wish.deployment}` shows how far it is"
        )

    def _rollout(self) -> Rollout:
        if self._decision is None:
            return Rollout()
        devices: dict[str, tuple[float, str]] = {}
        for name, held in self._held.items():
            mine = [
                stage
                for stage in held.stages
                if (stage.deployment, stage.generation) == (self._wish.deployment, self._decision.generation)
            ]
            if mine:
                states = {stage.state for stage in mine}
                state = next(one for one in ("failed", "loading", "draining", "ready") if one in states)
                # Weights are nearly all of the work; the rest of the bar is building and warming up.
                done = fmean(1.0 if stage.state == "ready" else 0.95 * stage.progress for stage in mine)
                devices[name] = (done, state)
        return Rollout(self._decision, devices)
