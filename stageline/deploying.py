"""Ask for a deployment and follow what becomes of it, until it is served or refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.bus import Bus
from schemas.deployment import Decision, Deployment
from schemas.stages import StagesHeld
from schemas.topics import DEPLOYMENT, DEVICE_STAGES, HUB_STATUS, PLAN_DECISION

_PLANNER_TIMEOUT_S: Final = 5.0


class DeploymentFailedError(Exception):
    """The planner has no plan for this wish; the message is the planner's own. It goes on trying as devices join."""


class NoPlannerError(Exception):
    """Nobody decides on this broker; the message says how to start a planner."""

    def __init__(self) -> None:
        super().__init__("no planner answers on this broker. Start one there: `stageline hub`, or `stageline-planner`")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a deployment is: the planner's latest word and what the workers hold."""

    decision: Decision | None = None
    held: Mapping[str, StagesHeld] = field(default_factory=dict)


async def deploy(
    bus: Bus, wish: Deployment, *, timeout_s: float, report: Callable[[Progress], None] = lambda _progress: None
) -> Decision:
    """Publish `wish` (stamped with the time of asking) and wait until its plan is served.

    Args:
        bus: connected.
        wish: what is wanted; `requested` is set here.
        timeout_s: how long to wait in all.
        report: called on every change.

    Raises:
        DeploymentFailedError: the planner refused.
        NoPlannerError: there is no planner, or it does not answer.
        TimeoutError: still not served after `timeout_s`.
    """
    stamped = wish.model_copy(update={"requested": time.time()})
    answered: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
    held: dict[str, StagesHeld] = {}
    latest: Decision | None = None

    async def follow_decisions() -> None:
        nonlocal latest
        async for delivery in decisions:
            decision = delivery.message
            if decision.requested != stamped.requested:
                continue
            latest = decision
            report(Progress(latest, held))
            if decision.state in ("serving", "failed") and not answered.done():
                answered.set_result(decision)

    async def follow_stages() -> None:
        async for delivery in stages:
            held[delivery.message.device] = delivery.message
            report(Progress(latest, held))

    async def watch_for_silence() -> None:
        await asyncio.sleep(_PLANNER_TIMEOUT_S)
        if latest is None and not answered.done():
            answered.set_exception(NoPlannerError())

    if not any(delivery.message.online for delivery in await bus.snapshot(HUB_STATUS)):
        raise NoPlannerError
    async with (
        bus.subscribe(PLAN_DECISION, deployment=stamped.deployment) as decisions,
        bus.subscribe(DEVICE_STAGES) as stages,
    ):
        followers = [asyncio.create_task(one()) for one in (follow_decisions, follow_stages, watch_for_silence)]
        try:
            await bus.publish(DEPLOYMENT, stamped, deployment=stamped.deployment)
            async with asyncio.timeout(timeout_s):
                decision = await answered
        finally:
            for follower in followers:
                follower.cancel()
            await asyncio.wait(followers)
    if decision.state == "failed":
        raise DeploymentFailedError(decision.error)
    return decision
