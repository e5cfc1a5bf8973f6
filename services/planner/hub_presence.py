"""The hub's own birth, farewell and last will: one planner per topic root, and everybody can see that it is there."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
from collections.abc import AsyncIterator, Mapping
from typing import Final

from broker.bus import Bus
from broker.delivery import Change, Will
from broker.errors import BrokerUnreachableError
from schemas.deployment import HubStatus
from schemas.topics import HUB_STATUS
from services.lifecycle import OperatorError
from services.tenure import Tenure, verdict

GOODBYE_WITHIN_S: Final = 2.0
HEARTBEAT_S: Final = 2.0
"""The planner says this often that it is there: of one that hangs, the broker still has the words `online`."""
_SAY_AGAIN_S: Final = 0.1


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
async def announced(bus: Bus, boot_id: str) -> AsyncIterator[AsyncIterator[Change[HubStatus]]]:
    """`online` is published when entered and `offline` when left; gives what others see, for `guard`."""
    async with bus.watch(HUB_STATUS) as states:
        await bus.publish(HUB_STATUS, _birth(boot_id, bus.rejected))
        try:
            yield states
        finally:
            with contextlib.suppress(BrokerUnreachableError):  # then the will tells
                gone = HubStatus(online=False, boot_id=boot_id)
                await bus.publish(HUB_STATUS, gone, timeout_s=GOODBYE_WITHIN_S)


async def guard(bus: Bus, boot_id: str, states: AsyncIterator[Change[HubStatus]]) -> None:
    """Undo what a late will (ours after a broken connection, or of a planner before us) says.

    Raises:
        SecondPlannerError: another planner is there, and was before us (see `services.tenure`).
    """
    tenure = Tenure()
    bus.on_reconnect(tenure.is_back)
    async for change in states:
        said = change.message
        match verdict(said, retained=change.retained, boot_id=boot_id, standing=tenure.standing):
            case "announce":
                with contextlib.suppress(BrokerUnreachableError):  # said again by the heartbeat
                    await bus.publish(HUB_STATUS, _birth(boot_id, bus.rejected))
                # Whoever writes there on and on is answered now and then.
                await asyncio.sleep(_SAY_AGAIN_S)
            case "yield" if said is not None and not tenure.doubts(said.boot_id):
                raise SecondPlannerError(bus.root)
            case "yield" | "ours":
                pass


async def heartbeat(bus: Bus, boot_id: str) -> None:
    """Show for as long as this runs that the planner works, and what it could not use of what came."""
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        with contextlib.suppress(BrokerUnreachableError):  # the bus repeats what is retained once it is back
            await bus.publish(HUB_STATUS, _birth(boot_id, bus.rejected))


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


def _birth(boot_id: str, rejected: Mapping[str, int]) -> HubStatus:
    version = importlib.metadata.version("stageline")
    return HubStatus(online=True, boot_id=boot_id, version=version, rejected=dict(rejected))
