"""The hub's own birth, farewell and last will: one planner per topic root, and everybody can see that it is there."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
from collections.abc import AsyncIterator
from typing import Final

from broker.bus import Bus
from broker.connection import BrokerUnreachableError
from broker.delivery import Delivery, Will
from schemas.deployment import HubStatus
from schemas.topics import HUB_STATUS
from services.lifecycle import OperatorError

GOODBYE_WITHIN_S: Final = 2.0
HEARTBEAT_S: Final = 2.0
"""The planner says this often that it is there: of one that hangs, the broker still has the words `online`."""


class SecondPlannerError(OperatorError):
    """Another planner works on the same topics."""

    def __init__(self, root: str) -> None:
        super().__init__(
            f"another planner is already at work under {root!r} on this broker: stop that one, "
            "or give this one a root of its own (--root or STAGELINE_ROOT)"
        )


def hub_will(boot_id: str) -> Will[HubStatus]:
    """What the broker says when the planner vanishes."""
    return Will(HUB_STATUS, HubStatus(online=False, boot_id=boot_id), {})


@contextlib.asynccontextmanager
async def announced(bus: Bus, boot_id: str) -> AsyncIterator[AsyncIterator[Delivery[HubStatus]]]:
    """`online` is published when entered and `offline` when left; gives what others see, for `guard`."""
    async with bus.subscribe(HUB_STATUS) as states:
        await bus.publish(HUB_STATUS, _birth(boot_id))
        try:
            yield states
        finally:
            with contextlib.suppress(BrokerUnreachableError):  # then the will tells
                gone = HubStatus(online=False, boot_id=boot_id)
                await bus.publish(HUB_STATUS, gone, timeout_s=GOODBYE_WITHIN_S)


async def guard(bus: Bus, boot_id: str, states: AsyncIterator[Delivery[HubStatus]]) -> None:
    """Undo what a late will (ours after a broken connection, or of a planner before us) says.

    Raises:
        SecondPlannerError: another planner was there before us.
    """
    async for delivery in states:
        said = delivery.message
        if said.online and said.boot_id == boot_id:
            continue
        # Of two that are both there, the one that came first stays. What is retained proves nothing about being there.
        if said.online and said.boot_id < boot_id and not delivery.retained:
            raise SecondPlannerError(bus.root)
        await bus.publish(HUB_STATUS, _birth(boot_id))


async def heartbeat(bus: Bus, boot_id: str) -> None:
    """Show for as long as this runs that the planner works."""
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        with contextlib.suppress(BrokerUnreachableError):  # the bus repeats what is retained once it is back
            await bus.publish(HUB_STATUS, _birth(boot_id))


async def is_alive(bus: Bus, *, within_s: float = 3 * HEARTBEAT_S) -> bool:
    """Whether a planner says by itself that it is there, and not only the broker for it."""
    try:
        async with asyncio.timeout(within_s), bus.subscribe(HUB_STATUS) as states:
            async for delivery in states:
                if delivery.message.online and not delivery.retained:
                    return True
    except TimeoutError:
        pass
    return False


def _birth(boot_id: str) -> HubStatus:
    return HubStatus(online=True, boot_id=boot_id, version=importlib.metadata.version("stageline"))
