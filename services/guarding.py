"""What a service has said stays said: whoever else writes on its retained topics is corrected.

A plan is the planner's and a profile its worker's, but a broker without users lets anybody write there, and one that
restarts may lose what it kept. What is retained is compared with what we said last once it has settled, so that
our own words, which come back too, are not taken for somebody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Collection, Mapping
from typing import Any, Final

from broker.bus import Bus, BusError, RawDelivery
from schemas.base import InvalidNameError, check_name
from schemas.topics import Topic

SETTLE_S: Final = 0.25
"""Between a foreign word and its correction; also between two corrections of one topic."""

Address = tuple[Topic[Any], tuple[tuple[str, str], ...]]
"""A topic and its parameters."""


class Guard:
    """Keeps what we said. `follow` is a loop of a service.

    Args:
        bus: connected.
        ours: topics on which nobody else has anything to say, with those parameters that are fixed. What is put where
            we have said nothing stays, unless the topic is among `alone`.
        alone: of these, topics where what we did not say is removed.
    """

    def __init__(
        self, bus: Bus, ours: Mapping[Topic[Any], Mapping[str, str]], *, alone: Collection[Topic[Any]] = ()
    ) -> None:
        self._bus = bus
        self._ours = ours
        self._alone = frozenset(alone)
        self._seen: dict[Address, bytes] = {}
        self._look = asyncio.Event()

    async def follow(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as loops:
            for topic, fixed in self._ours.items():
                loops.create_task(self._watch(topic, fixed), name=f"guard {topic.template}")
            loops.create_task(self._keep_correcting(), name="guard")

    async def _watch(self, topic: Topic[Any], fixed: Mapping[str, str]) -> None:
        async with self._bus.subscribe_bytes(topic.filter(**fixed)) as deliveries:
            async for delivery in deliveries:
                parameters = _parameters(topic, delivery)
                if parameters is not None:
                    self._seen[topic, parameters] = _digest(delivery.payload)
                    self._look.set()

    async def _keep_correcting(self) -> None:
        while True:
            await self._look.wait()
            await asyncio.sleep(SETTLE_S)
            self._look.clear()
            seen, self._seen = self._seen, {}
            for (topic, parameters), digest in seen.items():
                said = self._bus.said(topic, **dict(parameters))
                if digest == _digest(said or b"") or (said is None and topic not in self._alone):
                    continue
                if self._bus.is_saying(topic, **dict(parameters)):
                    # What was seen may be our own word of before; the newer one brings its own echo.
                    self._seen.setdefault((topic, parameters), digest)
                    self._look.set()
                    continue
                await self._correct(topic, dict(parameters), said=said is not None)

    async def _correct(self, topic: Topic[Any], parameters: dict[str, Any], *, said: bool) -> None:
        address = topic.address(**parameters)
        self._bus.dropped("overwritten", address, "somebody else wrote there; " + ("said again" if said else "removed"))
        with contextlib.suppress(BusError):  # the bus says it again once it is back
            if said:
                await self._bus.say_again(topic, **parameters)
            else:
                await self._bus.clear(topic, **parameters)


def _parameters(topic: Topic[Any], delivery: RawDelivery) -> tuple[tuple[str, str], ...] | None:
    """Of what came while we listen; None for what was there before, and for names that nobody else takes for any."""
    if delivery.retained:
        return None
    try:
        return tuple((kind, check_name(kind, name)) for kind, name in (topic.parse(delivery.address) or {}).items())
    except InvalidNameError:
        return None


def _digest(payload: bytes | memoryview) -> bytes:
    return hashlib.sha256(payload).digest()
