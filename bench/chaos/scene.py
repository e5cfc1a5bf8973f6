"""What a fault is given: the running devices, what is seen of them, and how to break, wait, demand and tell."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from bench.chaos.load import Generator
from bench.chaos.record import Record
from bench.chaos.scenario import Scenario
from bench.testbed import Testbed
from broker.bus import Bus
from models.library import Library
from models.runtime import StageRunner
from schemas.model import ModelCard
from schemas.plan import Plan
from schemas.topics import DEVICE_TIMING
from services.planner.device import Device
from services.planner.fleet import read_fleet
from stageline.client import Client

T = TypeVar("T")
LOOK_EVERY_S: Final = 0.01
_FLEET_EVERY_S: Final = 0.1
_CROWDING: Final = 20
"""Times faster than usual: faster than any line of the testbed answers."""


class NotInTimeError(RuntimeError):
    """Something that a scenario waits for did not happen; the message says what."""

    def __init__(self, what: str, within_s: float) -> None:
        super().__init__(f"not within {within_s:g} s: {what}")


class NotHereError(RuntimeError):
    """This scenario cannot be played here; the message says what is missing."""


@dataclass(slots=True)
class Scene:
    """One scenario while it is played. Times are on `record.clock`, the event loop's and `time.monotonic`'s.

    Attributes:
        bed: the devices, the planner, the broker, the links: `bed.device(name).kill("worker")`, `bed.cut(name)`, ...
        bus: a connection of the scenario's own.
        client: the submitter whose requests are recorded.
        record: what has been seen so far.
        generator: the load; its `rate_rps` may be changed.
        reference: the unsplit model.
        folder: of this scenario's own, for whatever the fault writes.
        quick: whether figures do not count, so that less will do.
    """

    scenario: Scenario
    bed: Testbed
    bus: Bus
    client: Client
    card: ModelCard
    library: Library
    reference: StageRunner
    record: Record
    generator: Generator
    folder: Path
    quick: bool
    told: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    broken: bool = False
    """Whether the devices are no good for another scenario."""

    # --- what is --------------------------------------------------------------------------------------------------
    @property
    def now_s(self) -> float:
        """The time."""
        return self.record.clock()

    @property
    def plan(self) -> Plan:
        """The plan that is current, as the bus says.

        Raises:
            NotInTimeError: none has been yet.
        """
        if not self.record.plans:
            raise NotInTimeError("a plan is current", 0)
        return self.record.plans[-1][1]

    def cause(self, generation: int) -> str:
        """Why the planner made that plan, in its own words; empty when it has not said."""
        causes = [decision.cause for _, decision in self.record.decisions if decision.generation == generation]
        return causes[-1] if causes else ""

    # --- what is done ---------------------------------------------------------------------------------------------
    def strike(self, text: str) -> None:
        """Say what is broken, right before it is: the clock of all figures starts. Once in a scenario."""
        if self.record.struck_s is not None:
            raise RuntimeError(f"{self.scenario.name} strikes once; mark what else it does")
        self.record.struck_s = self.record.mark(text)

    def mark(self, text: str) -> float:
        """Say what else is done, or seen; it is drawn in the picture. Returns when that is."""
        return self.record.mark(text)

    def figure(self, name: str, value: float) -> None:
        """Tell a figure of this scenario's own; `limits` may name it."""
        self.told[name] = value

    def say(self, text: str) -> None:
        """Tell people something that is no figure."""
        self.remarks.append(text)

    def demand(self, held: bool, otherwise: str) -> None:
        """What must hold, and what to complain of when it does not. The scenario goes on."""
        if not held:
            self.complaints.append(otherwise)

    # --- what is waited for ---------------------------------------------------------------------------------------
    async def until(self, true: Callable[[], bool], what: str, *, within_s: float) -> float:
        """Return as soon as something is true, with the time.

        Raises:
            NotInTimeError: it does not become so; `what` is what was waited for.
        """
        deadline = self.now_s + within_s
        while not true():
            if self.now_s > deadline:
                raise NotInTimeError(what, within_s)
            await asyncio.sleep(LOOK_EVERY_S)
        return self.now_s

    async def replanned(self, *, within_s: float, beyond: int | None = None) -> Plan:
        """The plan that is current once its generation is beyond that (None: the one when the fault struck).

        Raises:
            NotInTimeError: there is none in time.
        """
        if beyond is None:
            beyond = self.record.generation_before(self.record.struck_s or self.now_s)
        least = beyond
        await self.until(
            lambda: self.record.generation > least, f"a plan beyond generation {least} is current", within_s=within_s
        )
        return self.plan

    async def answered(self, generation: int, *, within_s: float, count: int = 1) -> float:
        """Return when so many answers over that generation, or later ones, are in the caller's hands.

        Raises:
            NotInTimeError: they do not come.
        """

        def there() -> bool:
            return sum(one.answered and one.generation >= generation for one in self.record.shown) >= count

        return await self.until(there, f"{count} answers over generation {generation}", within_s=within_s)

    async def usable(self, *names: str, within_s: float = 60.0) -> float:
        """Return when these devices can be planned with (by what the broker keeps), with the time.

        Raises:
            NotInTimeError: they do not come.
        """
        deadline = self.now_s + within_s
        while not set(names) <= set(await self.devices()):
            if self.now_s > deadline:
                raise NotInTimeError(f"{', '.join(names)} can be planned with", within_s)
            await asyncio.sleep(_FLEET_EVERY_S)
        return self.now_s

    async def heard(self, device: str, *, since_s: float, within_s: float) -> float:
        """Return when a device's worker has said, after that moment, that it is there; with the time.

        Raises:
            NotInTimeError: it says nothing.
        """
        try:
            async with asyncio.timeout(within_s), self.bus.subscribe(DEVICE_TIMING, device=device) as timings:
                async for _ in timings:
                    if self.now_s > since_s and device in await self.devices():
                        return self.now_s
        except TimeoutError:
            pass
        raise NotInTimeError(f"{device}'s worker is heard again", within_s)

    async def devices(self) -> dict[str, Device]:
        """The devices that can be planned with now, by what the broker keeps."""
        return (await read_fleet(self.bus)).usable

    async def busy(self, device: str, *, within_s: float = 20.0) -> None:
        """Return in the moment when requests are in flight and a thread of this device's worker computes.

        Raises:
            NotInTimeError: it does not come to that.
        """
        tasks = Path("/proc", str(self.bed.device(device).pid("worker")), "task")
        deadline = self.now_s + within_s
        while not (self.record.in_flight and _running(tasks)):
            if self.now_s > deadline:
                raise NotInTimeError(f"{device}'s worker computes", within_s)
            await asyncio.sleep(0)

    async def crowded(self, count: int = 12, *, within_s: float = 20.0) -> None:
        """Return when so many requests are in flight, by asking faster for a moment; their number is told as a figure.

        Raises:
            NotInTimeError: it does not come to that.
        """
        usual_rps = self.generator.rate_rps
        self.generator.rate_rps = _CROWDING * usual_rps
        try:
            await self.until(lambda: self.record.in_flight >= count, f"{count} requests in flight", within_s=within_s)
        finally:
            self.generator.rate_rps = usual_rps
        self.figure("in_flight", self.record.in_flight)

    async def here(self, work: Callable[[], T]) -> T:
        """Do something that blocks, in a thread: the load goes on meanwhile."""
        return await asyncio.to_thread(work)

    async def whatever_comes(self, work: Awaitable[object], *, within_s: float) -> bool:
        """Await something that may well fail or hang; whether it was done in time."""
        with suppress(TimeoutError, NotInTimeError):
            async with asyncio.timeout(within_s):
                await work
                return True
        return False


def _running(tasks: Path) -> bool:
    """Whether a thread other than the first, which runs the event loop, is on a processor."""
    for task in tasks.iterdir():
        if task.name != tasks.parent.name:
            with suppress(OSError):  # It ended meanwhile.
                state = (task / "stat").read_text().rpartition(") ")[2][:1]
                if state == "R":
                    return True
    return False
