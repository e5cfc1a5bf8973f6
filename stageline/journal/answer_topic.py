"""Outcomes on the bus: each retained on a topic of its own, `gateway/GATEWAY/REQUEST`, until its reader clears it.

Exactly once as far as MQTT lets anybody: see `broker.once`. Every message carries the request's id, so a reader can
tell the one repeat that is left, after a crash at the very moment at which the broker forgot or the reader cleared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from broker.once import OncePublisher
from schemas.base import check_name
from schemas.topics import GATEWAY_ANSWER
from stageline.journal.outcome import with_data
from stageline.journal.records import Outcome

SCHEME: Final = "topic:"


class AnswerTopic:
    """The topics of one gateway.

    Args:
        publisher: open.
        gateway: the name in the topics.
        keep_s: after which the broker forgets what nobody cleared.

    Raises:
        schemas.base.InvalidNameError: no topic can have that name in it.
    """

    def __init__(self, publisher: OncePublisher, gateway: str, *, keep_s: float) -> None:
        self.gateway = check_name("gateway", gateway)
        self._publisher = publisher
        self._keep_s = keep_s

    @property
    def name(self) -> str:
        """The gateway's name, for the journal."""
        return f"{SCHEME}{self.gateway}"

    async def prepare(self, outcomes: Sequence[Outcome]) -> Mapping[str, str]:
        """Nothing can be made ready, and no topic is in the way of another."""
        del outcomes
        return {}

    async def show(self, outcomes: Sequence[Outcome]) -> None:
        """Publish them.

        Raises:
            broker.errors.BusError: the broker will not have it.
        """
        await asyncio.gather(*(self._publish(one, doubted=False) for one in outcomes))

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Publish those that the broker does not retain.

        Raises:
            broker.errors.BusError: the broker will not have it.
        """
        for one in outcomes:
            await self._publish(one, doubted=True)

    async def _publish(self, one: Outcome, *, doubted: bool) -> None:
        document = await asyncio.to_thread(with_data, one)
        await self._publisher.publish(
            GATEWAY_ANSWER, document, expiry_s=int(self._keep_s), doubted=doubted, gateway=self.gateway,
            request=one.request,
        )  # fmt: skip
