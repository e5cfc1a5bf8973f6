"""Follows the fleet on the bus, and tells who came, who went, who holds what and how long stages take."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final, Protocol

from broker.bus import Bus
from broker.delivery import Change, Delivery
from broker.errors import BrokerUnreachableError
from schemas.device import Claim
from schemas.stages import StagesHeld, Timing
from schemas.topics import DEVICE_CLAIM, DEVICE_STAGES, DEVICE_TIMING, Topic
from services.planner.fleet import FLEET_TOPICS, Fleet, changed, improved, lost, read_fleet
from services.planner.heartbeat import Heartbeats, stuck

logger = logging.getLogger(__name__)

LISTEN_S: Final = 0.1
"""Between two looks at who has gone silent."""
_ASK_WITHIN_S: Final = 5.0
_ROLL_WITHIN_S: Final = 30.0


class Observer(Protocol):
    """Who wants to know (`services.planner.deployments.Deployments`)."""

    def held(self, held: StagesHeld) -> None:
        """A worker said what it holds."""

    def lost(self, device: str, why: str) -> None:
        """A device cannot be counted on any more, or lost what it held."""

    def improved(self, device: str) -> None:
        """A device became usable, or measured a model."""


class Ear(Protocol):
    """Who wants to hear how devices do (`services.planner.adapting.Adapting`)."""

    def heard(self, topic: Topic[Any], parameters: Mapping[str, str], message: Any, fleet: Fleet) -> None:
        """A device said something (None: it was cleared); `fleet` is as it was before."""

    def longest_step_ms(self, device: str) -> float:
        """The longest step of work that a plan has for a device."""


class FleetWatch:
    """The fleet as it is now (`fleet`), while inside `follow`."""

    def __init__(self, bus: Bus, *, boot_id: str, answer_within_s: float) -> None:
        self._bus = bus
        self._boot_id = boot_id
        self._answer_within_s = answer_within_s
        self._changed = asyncio.Event()
        self._observer: Observer | None = None
        self._ear: Ear | None = None
        self._beats = Heartbeats()
        self._patient: list[str] = []
        self.fleet = Fleet()

    @contextlib.asynccontextmanager
    async def follow(self, observer: Observer, ear: Ear | None = None) -> AsyncIterator[None]:
        """Keep `fleet` true while inside; it is complete, and everybody in it answered, when entered."""
        self._observer, self._ear = observer, ear
        async with contextlib.AsyncExitStack() as subscriptions, asyncio.TaskGroup() as loops:
            streams = [
                (topic, await subscriptions.enter_async_context(self._bus.watch(topic))) for topic in FLEET_TOPICS
            ]
            timings = await subscriptions.enter_async_context(self._bus.subscribe(DEVICE_TIMING))
            self.fleet = await read_fleet(self._bus)
            tasks = [loops.create_task(self._fold(topic, stream)) for topic, stream in streams]
            tasks.append(loops.create_task(self._time(timings)))
            await self.call_the_roll()
            self._bus.on_reconnect(self.call_the_roll)
            tasks.append(loops.create_task(self._keep_listening(loops)))
            yield
            for task in tasks:
                task.cancel()

    @contextlib.contextmanager
    def patience(self, device: str) -> Iterator[None]:
        """While inside, a device may be silent for longer than others: it does what holds it up."""
        self._patient.append(device)
        try:
            yield
        finally:
            self._patient.remove(device)

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
            await self._claim(device, timeout_s=_ROLL_WITHIN_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._answer_within_s):
                await self.until(lambda fleet: not fleet.doubted)
        if self.fleet.doubted:
            logger.warning("no answer from %s", ", ".join(sorted(self.fleet.doubted)))
            self._update(self.fleet.without_doubted())

    async def _fold(self, topic: Topic[Any], stream: AsyncIterator[Change[Any]]) -> None:
        async for change in stream:
            if self._ear is not None:
                self._ear.heard(topic, change.parameters, change.message, self.fleet)
            awaited = topic is DEVICE_STAGES and self._beats.awaits(change.parameters["device"])
            self._update(
                self.fleet.with_message(
                    topic, change.parameters, change.message, retained=change.retained, awaited=awaited
                ),
                about=change.parameters.get("device", ""),
            )
            if topic is DEVICE_STAGES and change.message is not None:
                if not change.retained:
                    self._beats = self._beats.heard(change.parameters["device"], change.message.boot_id)
                if self._observer is not None:
                    self._observer.held(change.message)

    async def _time(self, timings: AsyncIterator[Delivery[Timing]]) -> None:
        async for delivery in timings:
            timing = delivery.message
            device = self.fleet.devices.get(delivery.parameters["device"])
            if device is None or device.boot != timing.boot_id or device.name != timing.device:
                continue
            longest_ms = self._ear.longest_step_ms(device.name) if self._ear is not None else 0.0
            self._beats = self._beats.heard(device.name, device.boot, wrong=stuck(timing.stuck_s, longest_ms))
            self._update(self.fleet.with_hung(self._beats.hung))
            if self._ear is not None:
                self._ear.heard(DEVICE_TIMING, delivery.parameters, timing, self.fleet)

    async def _keep_listening(self, asking: asyncio.TaskGroup) -> None:
        """Notice who has gone silent. Our own standing still counts for nothing, nor does a broker that is away."""
        before_s = time.monotonic()
        while True:
            await asyncio.sleep(LISTEN_S)
            now_s = time.monotonic()
            elapsed_s, before_s = now_s - before_s, now_s
            online = {name: one.boot for name, one in self.fleet.devices.items() if one.online and not one.doubted}
            busy = {*self._patient, *(name for name, one in self.fleet.devices.items() if one.loading)}
            self._beats = self._beats.passed(elapsed_s if self._bus.connected else 0.0, online, busy=busy)
            for name in self._beats.to_ask(busy=busy):
                self._beats = self._beats.asking(name)
                asking.create_task(self._ask(name), name=f"ask {name}")
            self._update(self.fleet.with_hung(self._beats.hung))

    async def _ask(self, name: str) -> None:
        """Ask a silent worker for a word; its time to answer begins when the broker has the question."""
        try:
            await self._claim(name, timeout_s=_ASK_WITHIN_S)
        except BrokerUnreachableError as error:
            logger.warning("%s was not asked whether it is there: %s", name, error, extra={"device": name})
            self._beats = self._beats.not_asked(name)
        else:
            self._beats = self._beats.asked(name)

    async def _claim(self, device: str, *, timeout_s: float) -> None:
        hostname = f"{socket.gethostname()} (the hub)"
        claim = Claim(device=device, boot_id=self._boot_id, role="worker", hostname=hostname)
        await self._bus.publish(DEVICE_CLAIM, claim, timeout_s=timeout_s, device=device)

    def _update(self, fleet: Fleet, *, about: str | None = None) -> None:
        """Take up the new picture; with `about`, no other device can differ, and thousands need not be compared."""
        before, self.fleet = self.fleet, fleet
        if fleet is before:
            return
        if self._observer is not None:
            among = changed(before, fleet) if about is None else [about]
            for name in lost(before, fleet, among):
                device = fleet.devices.get(name)
                why = (device.absence if device else "it was forgotten") or "it started again"
                logger.warning("lost %s", name, extra={"device": name, "why": why})
                self._observer.lost(name, why)
            for name in improved(before, fleet, among):
                logger.info("%s may be planned with", name, extra={"device": name})
                self._observer.improved(name)
        self._changed.set()
        self._changed = asyncio.Event()
