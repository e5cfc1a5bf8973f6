"""State topics as the planner follows them: what was said, and what was taken back."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from broker.bus import Bus
from schemas.base import Message
from schemas.topics import BadMessageError, Topic

logger = logging.getLogger(__name__)
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Change(Generic[M]):
    """A retained topic has a new message, or was cleared (None)."""

    message: M | None
    parameters: dict[str, str]
    retained: bool
    """It is what the broker had kept, not something that happens now."""


@contextlib.asynccontextmanager
async def changes(bus: Bus, topic: Topic[M]) -> AsyncIterator[AsyncIterator[Change[M]]]:
    """Everything that happens to a topic, whatever its parameters. Subscribed when entered."""
    async with bus.subscribe_bytes(topic.filter()) as deliveries:

        async def decoded() -> AsyncIterator[Change[M]]:
            async for delivery in deliveries:
                parameters = topic.parse(delivery.address)
                if parameters is None:
                    continue
                try:
                    message = topic.decode(delivery.payload) if delivery.payload else None
                except BadMessageError as error:
                    bus.rejected[error.reason] += 1
                    logger.warning("dropped a message on %s: %s", delivery.address, error)
                    continue
                yield Change(message, parameters, delivery.retained)

        yield decoded()
