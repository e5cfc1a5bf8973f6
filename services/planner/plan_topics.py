"""What a rollout decided to say of its plans, said to the broker until it has it, in the log, too."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

from broker.bus import Bus
from broker.errors import BrokerUnreachableError
from schemas.deployment import Decision
from schemas.topics import PLAN_CURRENT, PLAN_DECISION, PLAN_NEXT
from services.planner.events import ClearCurrent, ClearNext, PublishCurrent, PublishDecision, PublishNext

logger = logging.getLogger(__name__)

Saying = PublishNext | PublishCurrent | PublishDecision | ClearNext | ClearCurrent


async def say(bus: Bus, name: str, saying: Saying) -> None:
    """Carry out one such action of the deployment `name`; returns once the broker has it."""
    match saying:
        case PublishNext(plan):
            logger.info("next: %s", plan, extra={"deployment": name, "generation": plan.generation})
            await _insist(partial(bus.publish, PLAN_NEXT, plan, deployment=name))
        case PublishCurrent(plan):
            logger.info("current: %s", plan, extra={"deployment": name, "generation": plan.generation})
            await _insist(partial(bus.publish, PLAN_CURRENT, plan, deployment=name))
        case PublishDecision(decision):
            _log(decision)
            await _insist(partial(bus.publish, PLAN_DECISION, decision, deployment=name))
        case ClearNext():
            await _insist(partial(bus.clear, PLAN_NEXT, deployment=name))
        case ClearCurrent():
            await _insist(partial(bus.clear, PLAN_CURRENT, deployment=name))


async def _insist(send: Callable[[], Awaitable[object]]) -> None:
    """Send until the broker has it: what a rollout decided must be said, however long the broker is away."""
    while True:
        try:
            await send()
        except BrokerUnreachableError as error:
            logger.warning("%s; trying again", error)
        else:
            return


def _log(decision: Decision) -> None:
    level = logging.ERROR if decision.error else logging.INFO
    text = decision.error or decision.explanation
    fields = {"deployment": decision.deployment, "generation": decision.generation, "cause": decision.cause}
    logger.log(level, "%s: %s", decision.state, text, extra=fields)
