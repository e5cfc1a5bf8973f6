"""Moving a device's work away, so that it can be switched off: what still keeps it busy, told until nothing does.

    people --(duty: drain)--> planner --(plans without it, make before break)--> workers drop what they held

Whether it is done is read off what everybody publishes: plans, the planner's decisions, and the stages that the
device's worker holds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from broker.bus import Bus
from broker.delivery import Change
from schemas.device import Duty
from schemas.plan import Plan
from schemas.stages import StagesHeld
from schemas.topics import DEVICE_DUTY, DEVICE_STAGES, PLAN_CURRENT, PLAN_DECISION, PLAN_NEXT, Topic
from stageline.deploying import SILENT_S, SilentPlannerError, silence_within, until_silent

_TOPICS: Final[tuple[Topic[Any], ...]] = (PLAN_CURRENT, PLAN_NEXT, PLAN_DECISION, DEVICE_STAGES)


@dataclass(frozen=True, slots=True)
class Draining:
    """What keeps one device busy; folded from the bus."""

    device: str
    serving: Mapping[str, Plan] = field(default_factory=dict)
    """Plans being served, by deployment; only those that use the device."""
    preparing: Mapping[str, Plan] = field(default_factory=dict)
    """The same of plans being prepared."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Deployments that the planner has no other plan for, and why."""
    worker: StagesHeld | None = None

    @property
    def deployments(self) -> tuple[str, ...]:
        """Those whose plans use the device."""
        return tuple(sorted({*self.serving, *self.preparing}))

    @property
    def stages(self) -> tuple[str, ...]:
        """Stages that its worker holds and that may still be answering, as people write them."""
        held = self.worker.stages if self.worker is not None and self.worker.online else ()
        return tuple(
            f"{one.deployment} [{one.first}:{one.last}) ({one.state})" for one in held if one.state != "failed"
        )

    @property
    def done(self) -> bool:
        """It may be switched off."""
        return not self.deployments and not self.stages

    @property
    def stuck(self) -> Mapping[str, str]:
        """When nothing more will move by itself: the deployments that have no plan without it, and why. Else empty."""
        users = self.deployments
        return {name: self.refused[name] for name in users} if users and self.refused.keys() >= set(users) else {}

    def with_change(self, topic: Topic[Any], change: Change[Any], *, answers: bool = True) -> Draining:
        """After one message, or the removal of one.

        Args:
            topic: where it came from.
            change: what came.
            answers: a refusal among the planner's decisions is an answer to this drain, not to something before it.
        """
        if topic is DEVICE_STAGES:
            mine = change.parameters["device"] == self.device
            return replace(self, worker=change.message) if mine else self
        name = change.parameters["deployment"]
        if topic is PLAN_DECISION:
            why = change.message.error if change.message is not None and answers else ""
            return replace(self, refused=_put(self.refused, name, why or None))
        plan = change.message if change.message is not None and self.device in change.message.devices else None
        if topic is PLAN_NEXT:
            return replace(self, preparing=_put(self.preparing, name, plan))
        refused = self.refused if plan is not None else _put(self.refused, name, None)
        return replace(self, serving=_put(self.serving, name, plan), refused=refused)

    def __str__(self) -> str:
        if self.preparing:
            return f"{', '.join(self.preparing)}: a plan that uses {self.device} is being prepared still"
        if self.serving:
            return f"{', '.join(self.serving)}: waiting for a plan without {self.device}"
        if self.stages:
            return f"{self.device} still holds {', '.join(self.stages)}"
        return f"nothing uses {self.device} any more"


async def drain(
    bus: Bus,
    duty: Duty,
    *,
    timeout_s: float,
    silent_s: float = SILENT_S,
    tell: Callable[[Draining], None] = lambda _: None,
) -> Draining:
    """Ask for it and wait until the device is free, nothing more can move, or so much time has passed.

    Args:
        bus: an open bus.
        duty: what is wanted of the device: `drain`.
        timeout_s: for all of it.
        silent_s: a planner that is not heard of for so long does not work.
        tell: called with each step.

    Returns:
        How it ended: `done`, or `stuck`, or neither, when the time was over.

    Raises:
        SilentPlannerError: the planner does not answer.
    """
    before = [one.message for one in await bus.snapshot(DEVICE_DUTY, device=duty.device)]
    # A planner says a refusal once: to whoever asked first, if this was asked for before.
    asked_before = any(one.duty == "drain" for one in before)
    draining = Draining(duty.device)
    changes: asyncio.Queue[tuple[Topic[Any], Change[Any]]] = asyncio.Queue()
    async with contextlib.AsyncExitStack() as stack:
        streams = [(topic, await stack.enter_async_context(bus.watch(topic))) for topic in _TOPICS]
        await bus.publish(DEVICE_DUTY, duty, remember=False, device=duty.device)
        for topic in _TOPICS:
            for kept in await bus.snapshot(topic):
                change = Change(kept.message, kept.parameters, True, kept.address)
                draining = draining.with_change(topic, change, answers=asked_before)
        tasks = [asyncio.create_task(_hand_on(topic, stream, changes)) for topic, stream in streams]

        async def until_settled() -> None:
            nonlocal draining
            while not (draining.done or draining.stuck):
                tell(draining)
                topic, change = await changes.get()
                draining = draining.with_change(topic, change, answers=asked_before or not change.retained)

        settling = asyncio.create_task(until_settled())
        silence = asyncio.create_task(until_silent(bus, silence_within(timeout_s, silent_s)))
        tasks += [settling, silence]
        try:
            await asyncio.wait({settling, silence}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if settling.done():
                settling.result()
            elif silence.done():
                silence.result()
                raise SilentPlannerError(f"moves the work of {duty.device} away")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return draining


async def _hand_on(
    topic: Topic[Any], stream: AsyncIterator[Change[Any]], changes: asyncio.Queue[tuple[Topic[Any], Change[Any]]]
) -> None:
    async for change in stream:
        changes.put_nowait((topic, change))


def _put(mapping: Mapping[str, Any], key: str, value: Any | None) -> dict[str, Any]:
    rest = {name: kept for name, kept in mapping.items() if name != key}
    return rest if value is None else {**rest, key: value}
