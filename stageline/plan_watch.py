"""What a submitter must know of the line: the plan that is served, its model's card, and who is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from broker.bus import Bus
from broker.delivery import Change, Delivery
from schemas.deployment import Decision
from schemas.model import ModelCard
from schemas.plan import Plan
from schemas.stages import StagesHeld
from schemas.topics import DEVICE_STAGES, MODEL_CARD, PLAN_CURRENT, PLAN_DECISION
from stageline.sending import GiveUp

_UNANSWERED: Final = frozenset({"deadline", "no-answer"})
"""Reasons behind which there may be another: no plan to replace the one that does not answer."""


@dataclass(frozen=True, slots=True)
class Served:
    """A plan and the card it was made from."""

    plan: Plan
    card: ModelCard


def after_report(
    held: Mapping[str, StagesHeld], device: str, report: StagesHeld | None, plans: Iterable[Plan]
) -> dict[str, StagesHeld]:
    """What devices hold after one more report (None: it was removed).

    A device that is offline is remembered while one of the plans that are known names it, or while none is known.
    """
    others = {name: kept for name, kept in held.items() if name != device}
    after = others if report is None else {**others, device: report}
    named = [set(plan.devices) for plan in plans]
    return {name: kept for name, kept in after.items() if kept.online or not named or name in set().union(*named)}


class PlanWatch:
    """Follows one deployment. Subscribed when entered; `run` then keeps it true."""

    def __init__(
        self,
        bus: Bus,
        deployment: str,
        plan_changed: Callable[[], None] = lambda: None,
        devices_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.served: Served | None = None
        self.decision: Decision | None = None
        self.held: dict[str, StagesHeld] = {}
        self._bus = bus
        self._deployment = deployment
        self._plan_changed = plan_changed
        self._devices_changed = devices_changed
        self._plan: Plan | None = None
        self._cards: dict[str, ModelCard] = {}
        self._model = ""
        self._following: asyncio.Task[None] | None = None
        self._change = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            self._devices = await enter(self._bus.watch(DEVICE_STAGES))
            self._decisions = await enter(self._bus.subscribe(PLAN_DECISION, deployment=self._deployment))
            self._plans = await enter(self._bus.watch(PLAN_CURRENT, deployment=self._deployment))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def run(self) -> None:
        """Follow what is published until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_devices(self._devices))
            group.create_task(self._follow_decisions(self._decisions))
            group.create_task(self._follow_plans(self._plans, group))

    async def changed(self) -> None:
        """Wait for the next change of plan or decision."""
        await self._change.wait()

    def wake(self) -> None:
        """Let everybody who waits in `changed` look again."""
        self._change.set()
        self._change = asyncio.Event()

    def why_no_plan(self) -> str:
        """In words, from the planner's latest decision."""
        name, decision = self._deployment, self.decision
        if decision is None:
            return f"nothing is deployed as {name!r} (`stageline deploy MODEL --name {name}`)"
        if decision.state == "failed":
            return f"{name!r} has no plan: {decision.error}"
        if decision.state == "removed":
            return f"{name!r} was removed (`stageline deploy` brings it back)"
        if self._plan is not None:
            return f"the card of model {self._plan.model!r} has not come (is the planner running? `stageline doctor`)"
        return f"{name!r} is not served yet: the planner is {decision.state}"

    def why_failed(self, gone: GiveUp) -> str:
        """What became of a request, and the planner's word where it found no plan: that is what somebody must mend."""
        if gone.reason == "no-plan":
            return f"{self.why_no_plan()}: {gone.detail}"
        if gone.reason in _UNANSWERED and self.decision is not None and self.decision.state == "failed":
            return f"{gone.detail}; {self.why_no_plan()}"
        return gone.detail

    async def _follow_devices(self, devices: AsyncIterator[Change[StagesHeld]]) -> None:
        async for change in devices:
            served = self.served.plan if self.served is not None else None
            plans = [plan for plan in (self._plan, served) if plan is not None]
            self.held = after_report(self.held, change.parameters["device"], change.message, plans)
            self._devices_changed()

    async def _follow_decisions(self, decisions: AsyncIterator[Delivery[Decision]]) -> None:
        async for delivery in decisions:
            self.decision = delivery.message
            if delivery.message.state == "removed":
                self._plan = None
                self._settle()
            self.wake()

    async def _follow_plans(self, plans: AsyncIterator[Change[Plan]], group: asyncio.TaskGroup) -> None:
        async for change in plans:
            self._plan = change.message
            if self._plan is not None and self._plan.model != self._model:
                if self._following is not None:
                    self._following.cancel()
                self._model = self._plan.model
                self._following = group.create_task(self._follow_card(self._model))
            self._settle()

    async def _follow_card(self, model: str) -> None:
        async with self._bus.subscribe(MODEL_CARD, model=model) as cards:
            async for delivery in cards:
                # Two suffice: of the plan that is served and of the one that will replace it.
                self._cards = {**dict(list(self._cards.items())[-1:]), delivery.message.sha256: delivery.message}
                self._settle()

    def _settle(self) -> None:
        """A plan is followed once its card is known: until then nobody can tell what its inputs are."""
        card = self._cards.get(self._plan.card_sha) if self._plan is not None else None
        if self._plan is not None and card is None and self.served is not None:
            return
        served = Served(self._plan, card) if self._plan is not None and card is not None else None
        if served != self.served:
            self.served = served
            self._plan_changed()
            self.wake()
