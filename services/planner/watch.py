"""Follows the fleet on the bus, and tells who came, who went and who holds what."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from broker.bus import Bus
from broker.delivery import Change
from schemas.device import Claim
from schemas.stages import StagesHeld
from schemas.topics import DEVICE_CLAIM, DEVICE_STAGES, Topic
from services.planner.fleet import FLEET_TOPICS, Fleet, improved, lost, read_fleet

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Who wants to know (`services.planner.deployments.Deployments`)."""

    def held(self, held: StagesHeld) -> None:
        """A worker said what it holds."""

    def lost(self, device: str) -> None:
        """A device is gone, or lost what it held."""

    def improved(self, device: str) -> None:
        """A device became usable, or measured a model."""


class FleetWatch:
    """The fleet as it is now (`fleet`), while inside `follow`."""

    def __init__(self, bus: Bus, *, boot_id: str, answer_within_s: float) -> None:
        self._bus = bus
        self._boot_id = boot_id
        self._answer_within_s = answer_within_s
        self._changed = asyncio.Event()
        self._observer: Observer | None = None
        self.fleet = Fleet()

    @contextlib.asynccontextmanager
    async def follow(self, observer: Observer) -> AsyncIterator[None]:
        """Keep `fleet` true while inside; it is complete, and everybody in it answered, when entered."""
        self._observer = observer
        async with contextlib.AsyncExitStack() as subscriptions, asyncio.TaskGroup() as loops:
            streams = [
                (topic, await subscriptions.enter_async_context(self._bus.watch(topic))) for topic in FLEET_TOPICS
            ]
            self.fleet = await read_fleet(self._bus)
            tasks = [loops.create_task(self._fold(topic, stream)) for topic, stream in streams]
            await self.call_the_roll()
            self._bus.on_reconnect(self.call_the_roll)
            yield
            for task in tasks:
                task.cancel()

    async def until(self, true: Callable[[Fleet], bool]) -> None:
        """Return when something is true of the fleet."""
        while not true(self.fleet):
            await self._changed.wait()

    async def call_the_roll(self) -> None:
        """Have every worker that the broker calls online say so itself; who does not answer is gone.

        What a broker kept may be of workers whose will was never sent: it restarted meanwhile, or we did.
        """
        self._update(self.fleet.with_doubts())
        for device in sorted(self.fleet.doubted):
            claim = Claim(
                device=device, boot_id=self._boot_id, role="worker", hostname=f"{socket.gethostname()} (the hub)"
            )
            await self._bus.publish(DEVICE_CLAIM, claim, device=device)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._answer_within_s):
                await self.until(lambda fleet: not fleet.doubted)
        if self.fleet.doubted:
            logger.warning("no answer from %s", ", ".join(sorted(self.fleet.doubted)))
            self._update(self.fleet.without_doubted())

    async def _fold(self, topic: Topic[Any], stream: AsyncIterator[Change[Any]]) -> None:
        async for change in stream:
            self._update(self.fleet.with_message(topic, change.parameters, change.message, retained=change.retained))
            if topic is DEVICE_STAGES and change.message is not None and self._observer is not None:
                self._observer.held(change.message)

    def _update(self, fleet: Fleet) -> None:
        before, self.fleet = self.fleet, fleet
        if self._observer is not None:
            for device in lost(before, fleet):
                logger.warning("lost %s", device, extra={"why": fleet.devices[device].absence or "it started again"})
                self._observer.lost(device)
            for device in improved(before, fleet):
                logger.info("%s may be planned with", device)
                self._observer.improved(device)
        self._changed.set()
        self._changed = asyncio.Event()
