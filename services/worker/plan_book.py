"""The plans as they are on the bus now: every deployment's `next` and `current`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final

from broker.bus import BrokerUnreachableError, Bus, Change
from schemas.plan import Plan
from schemas.topics import PLAN_CURRENT, PLAN_NEXT, Topic

logger = logging.getLogger(__name__)

RESYNC_AFTER_S: Final = 10.0
"""After a reconnect: a broker that forgot everything is told again by a planner that is reconnecting too."""


class PlanBook:
    """Follows the two plan topics; sets `changed` whenever something may be different."""

    def __init__(self, bus: Bus, changed: asyncio.Event) -> None:
        self._bus = bus
        self._changed = changed
        self.upcoming: dict[str, Plan] = {}
        self.current: dict[str, Plan] = {}
        self.complete = asyncio.Event()
        """Set when it holds all that the broker retained at the start."""
        self._heard: set[tuple[str, str]] = set()
        self._retained: set[tuple[str, str]] | None = None

    async def follow(self) -> None:
        """Keep the book until cancelled. What is retained now arrives first."""
        self._bus.on_reconnect(self._resync)
        async with (
            self._bus.watch(PLAN_CURRENT) as current,
            self._bus.watch(PLAN_NEXT) as upcoming,
            asyncio.TaskGroup() as loops,
        ):
            loops.create_task(self._follow(PLAN_CURRENT, current, self.current), name="plan current")
            loops.create_task(self._follow(PLAN_NEXT, upcoming, self.upcoming), name="plan next")
            loops.create_task(self._look_what_is_retained(), name="plans at the start")

    async def _follow(self, topic: Topic[Plan], changes: AsyncIterator[Change[Plan]], book: dict[str, Plan]) -> None:
        async for change in changes:
            name, plan = change.parameters["deployment"], change.message
            if plan is None:
                book.pop(name, None)
            elif plan.deployment == name:
                book[name] = plan
            self._changed.set()
            if not self.complete.is_set():
                self._heard.add((topic.template, name))
                self._compare()

    async def _look_what_is_retained(self) -> None:
        """Nothing marks the last retained message of a subscription; what came by another way tells which are due."""
        while self._retained is None:
            try:
                self._retained = {
                    (topic.template, delivery.parameters["deployment"])
                    for topic in (PLAN_CURRENT, PLAN_NEXT)
                    for delivery in await self._bus.snapshot(topic)
                }
            except BrokerUnreachableError as error:
                logger.warning("the plans at the start are looked for again: %s", error)
        self._compare()

    def _compare(self) -> None:
        if self._retained is not None and self._retained <= self._heard:
            self.complete.set()

    async def _resync(self) -> None:
        """Forget plans that were cleared while we were away; nothing tells a subscriber about those."""
        await asyncio.sleep(RESYNC_AFTER_S)
        for topic, book in ((PLAN_CURRENT, self.current), (PLAN_NEXT, self.upcoming)):
            before = dict(book)
            there = {delivery.parameters["deployment"] for delivery in await self._bus.snapshot(topic)}
            for name, plan in before.items():
                if name not in there and book.get(name) is plan:
                    del book[name]
        self._changed.set()
