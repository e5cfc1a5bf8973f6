"""All parts of one worker, wired together."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from broker.bus import Bus, Will
from models.library import BlobStore
from schemas.stages import StagesHeld
from schemas.topics import DEVICE_PROFILE, DEVICE_STAGES
from services.capacity import capacity, threads_for
from services.guarding import Guard
from services.presence import Presence, new_boot_id, take_name
from services.worker.cards import Cards
from services.worker.fetch import Fetcher
from services.worker.holder import Holder, Limits
from services.worker.line import Line
from services.worker.memory import default_budget_bytes, for_measuring_bytes
from services.worker.plan_book import PlanBook
from services.worker.power import PowerFollower
from services.worker.profiler import Machine, Profiler
from services.worker.runners import Runners
from services.worker.settings import WorkerSettings
from services.worker.timing import Timings, keep_reporting

_QUIET_S: Final = 0.3
"""After SIGTERM: no frame for so long, and we go."""
_SETTLE_WITHIN_S: Final = 2.0
_WORTH_TELLING_S: Final = 2.0


class Worker:
    """Use as an async context manager: connected inside. Then `serve`."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._device = device = settings.device
        self._boot_id = new_boot_id()
        start = capacity(settings.capacity_cores)
        self._threads = settings.threads or threads_for(start.capacity_cores)
        budget_mb = settings.memory_budget_mb
        self._budget_bytes = (
            default_budget_bytes(start.memory_free_bytes) if budget_mb is None else int(budget_mb * 1e6)
        )
        self._bus = Bus(
            settings.broker,
            name=device,
            root=settings.root,
            will=Will(DEVICE_STAGES, self._gone("vanished"), {"device": device}),
            receive_maximum=settings.receive_maximum,
            connect_timeout_s=settings.connect_timeout_s,
        )
        self._changed = asyncio.Event()
        self._book = PlanBook(self._bus, self._changed)
        self._timings = Timings(device, self._boot_id)
        self._line = Line(self._bus, device, self._timings)
        self._cards = Cards(self._bus)
        store = BlobStore(settings.blobs_dir, int(settings.cache_mb * 1e6))
        self._fetcher = Fetcher(self._bus.bulk, store, device)
        self._runners = Runners(
            self._fetcher, store, backend=settings.backend, threads=self._threads, quiet=self._line.barrier
        )
        self._holder = Holder(device, line=self._line, runners=self._runners, cards=self._cards, limits=self._limits())
        self._power = PowerFollower(self._bus, device, self._line.charge)
        self._profiler = Profiler(
            Machine(
                device=device,
                boot_id=self._boot_id,
                backend=settings.backend,
                threads=self._threads,
                profile_budget_s=settings.profile_budget_s,
                memory_left_bytes=self._for_measuring_bytes,
                capacity_cores=self._capacity_cores,
            ),
            bus=self._bus,
            line=self._line,
            cards=self._cards,
            fetcher=self._fetcher,
            store=store,
        )
        self._presence = Presence(
            self._bus, DEVICE_STAGES, device=device, boot_id=self._boot_id, role="worker", current=self._state
        )
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        for part in (self._bus, self._line, self._runners):
            await self._open.enter_async_context(part)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def advances(self, within_s: float) -> bool:
        """Whether the compute thread waits for work or began its present step within that time."""
        return self._line.stuck_s <= within_s

    def status(self) -> str:
        """What it does now, in a line for people."""
        if not self._presence.known.is_set():
            return f"{self._device} looks for the broker at {self._bus.address}"
        stuck_s = self._line.stuck_s
        stuck = f", at one step for {stuck_s:.0f} s" if stuck_s > _WORTH_TELLING_S else ""
        away = "" if self._bus.connected else ", without a broker"
        return f"{self._device}: {self._holder.summary}, {self._line.queue_depth} frames here{stuck}{away}"

    async def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        """Claim the name, then work until cancelled.

        The goodbye comes first, the end of the work after it: what is under way is finished here while the next plan
        is made without us.

        Args:
            ready: called once, when this worker is known and every stage that the plans want of it is up.

        Raises:
            services.presence.DuplicateNameError: another worker lives under this name.
        """
        hostname = socket.gethostname()
        await take_name(self._bus, device=self._device, boot_id=self._boot_id, role="worker", hostname=hostname)
        work = asyncio.create_task(self._work(), name="work")
        try:
            async with self._presence.farewell(self._gone), asyncio.TaskGroup() as telling:
                telling.create_task(_until_done(work), name="working")
                # Whoever sees us online may ask at once, and asks once.
                await self._profiler.listening.wait()
                telling.create_task(self._presence.guard(), name="presence")
                telling.create_task(self._holder.report(self._presence.announce), name="reports")
                telling.create_task(self._when_up(ready), name="ready")
        finally:
            await self._line.settled(_QUIET_S, _SETTLE_WITHIN_S)
            work.cancel()
            await asyncio.wait((work,))

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._book.follow(), name="plans")
            loops.create_task(self._holder.follow(self._book, self._changed), name="stages")
            loops.create_task(self._fetcher.run(), name="fetcher")
            loops.create_task(self._profiler.follow(), name="profiler")
            loops.create_task(self._power.follow(), name="power")
            ours = {topic: {"device": self._device} for topic in (DEVICE_STAGES, DEVICE_PROFILE)}
            loops.create_task(Guard(self._bus, ours).follow(), name="guard")
            period_s = self._settings.timing_period_s
            loops.create_task(keep_reporting(self._bus, self._line, self._timings, period_s), name="heartbeat")

    async def _when_up(self, ready: Callable[[], None]) -> None:
        await self._presence.known.wait()
        await self._book.complete.wait()
        await self._holder.settled(self._book)
        ready()

    def _state(self) -> StagesHeld:
        return StagesHeld(
            device=self._device,
            boot_id=self._boot_id,
            online=True,
            backend=self._settings.backend,
            threads=self._threads,
            memory_budget_bytes=self._budget_bytes,
            max_packet_bytes=self._bus.max_packet_bytes,
            stages=self._holder.held(),
        )

    def _gone(self, reason: str) -> StagesHeld:
        return StagesHeld(device=self._device, boot_id=self._boot_id, online=False, reason=reason)

    def _limits(self) -> Limits:
        settings = self._settings
        return Limits(
            memory_budget_bytes=self._budget_bytes,
            memory_free_bytes=lambda: capacity(settings.capacity_cores).memory_free_bytes,
            drain_s=settings.drain_s,
            drain_most_s=settings.drain_most_s,
        )

    def _for_measuring_bytes(self) -> int:
        free_bytes = capacity(self._settings.capacity_cores).memory_free_bytes
        return for_measuring_bytes(self._budget_bytes, self._holder.memory_bytes, free_bytes)

    def _capacity_cores(self) -> float:
        return capacity(self._settings.capacity_cores).capacity_cores


async def _until_done(work: asyncio.Task[None]) -> None:
    """Wait without taking the work along when the waiting is cancelled."""
    await asyncio.shield(work)
