"""The plans as they are on the bus now: every deployment's `next` and `current`."""

from __future__ import annotations

import asyncio
from typing import Final

from broker.bus import Bus
from schemas.plan import Plan
from schemas.topics import PLAN_CURRENT, PLAN_NEXT, Topic

RESYNC_AFTER_S: Final = 10.0
"""After a reconnect: a broker that forgot everything is told again by a planner that is reconnecting too."""


class PlanBook:
    """Follows the two plan topics; sets `changed` whenever something may be different."""

    def __init__(self, bus: Bus, changed: asyncio.Event) -> None:
        self._bus = bus
        self._changed = changed
        self.upcoming: dict[str, Plan] = {}
        self.current: dict[str, Plan] = {}

    async def follow(self) -> None:
        """Keep the book until cancelled. What is retained now arrives first."""
        self._bus.on_reconnect(self._resync)
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._follow(PLAN_CURRENT, self.current), name="plan current")
            loops.create_task(self._follow(PLAN_NEXT, self.upcoming), name="plan next")

    async def _follow(self, topic: Topic[Plan], book: dict[str, Plan]) -> None:
        async with self._bus.watch(topic) as changes:
            async for change in changes:
                name, plan = change.parameters["deployment"], change.message
                if plan is None:
                    book.pop(name, None)
                elif plan.deployment == name:
                    book[name] = plan
                self._changed.set()

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
