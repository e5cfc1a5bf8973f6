"""Listens to what the planner says of the scenario's deployment, and notes when it said it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.chaos.record import Record
from bench.chaos.scenario import DEPLOYMENT
from broker.bus import Bus
from broker.delivery import Delivery
from schemas.deployment import Decision
from schemas.plan import Plan
from schemas.topics import PLAN_CURRENT, PLAN_DECISION, PLAN_NEXT


@asynccontextmanager
async def observed(bus: Bus, record: Record) -> AsyncIterator[None]:
    """While inside, plans and decisions are put into `record` as they are published; the current plan comes first."""
    async with (
        bus.subscribe(PLAN_CURRENT, deployment=DEPLOYMENT) as current,
        bus.subscribe(PLAN_NEXT, deployment=DEPLOYMENT) as upcoming,
        bus.subscribe(PLAN_DECISION, deployment=DEPLOYMENT) as decisions,
        asyncio.TaskGroup() as loops,
    ):
        tasks = [
            loops.create_task(_plans(current, record, record.plans)),
            loops.create_task(_plans(upcoming, record, record.announced)),
            loops.create_task(_decisions(decisions, record)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _plans(plans: AsyncIterator[Delivery[Plan]], record: Record, into: list[tuple[float, Plan]]) -> None:
    async for delivery in plans:
        plan = delivery.message
        # A broker that lost its memory is told the same plan again; that changes nothing.
        if not into or into[-1][1].generation != plan.generation:
            into.append((record.clock(), plan))


async def _decisions(decisions: AsyncIterator[Delivery[Decision]], record: Record) -> None:
    async for delivery in decisions:
        if not delivery.retained:
            record.decisions.append((record.clock(), delivery.message))
