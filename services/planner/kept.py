"""What the broker kept of all deployments while no planner was there."""

from __future__ import annotations

from typing import TypeVar

from broker.bus import Bus
from schemas.base import Message
from schemas.topics import DEPLOYMENT, PLAN_CURRENT, PLAN_DECISION, PLAN_NEXT, Topic
from services.planner.resuming import Kept

M = TypeVar("M", bound=Message)


async def read_kept(bus: Bus, *, most: int) -> dict[str, Kept]:
    """By deployment; of more than `most`, those that are served, then those that are wanted."""
    wishes, current = await read(bus, DEPLOYMENT), await read(bus, PLAN_CURRENT)
    upcoming, told = await read(bus, PLAN_NEXT), await read(bus, PLAN_DECISION)
    names = sorted({*wishes, *current, *upcoming, *told}, key=lambda name: (name not in current, name not in wishes))
    return {
        name: Kept(wishes.get(name), current.get(name), upcoming.get(name), told.get(name))
        for name in sorted(names[:most])
    }


async def read(bus: Bus, topic: Topic[M]) -> dict[str, M]:
    """What is retained of a topic, by deployment."""
    return {kept.parameters["deployment"]: kept.message for kept in await bus.snapshot(topic)}
