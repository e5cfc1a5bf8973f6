"""Measures what a model's blocks cost on this device when the planner asks, one model at a time."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

from broker.bus import Bus, BusError
from models.library import BlobStore, MissingBlobError, WrongHashError
from models.profiling import ProfiledBlocks, profile_blocks
from models.runtime import Backend
from models.runtime.checks import BackendError
from models.stage import BadGraphError
from schemas.device import Profile
from schemas.model import ModelCard
from schemas.topics import DEVICE_COMMAND, DEVICE_PROFILE
from services.worker.cards import Cards
from services.worker.fetch import Fetcher, FetchError
from services.worker.frame_cost import FrameCost, measure_frame_cost
from services.worker.line import Line

logger = logging.getLogger(__name__)

_CARD_WITHIN_S: Final = 20.0
_FETCH_WITHIN_S: Final = 60.0
_MOST_ASKED: Final = 16
"""Models that are asked for and not measured yet."""
FAILURES: Final = (
    FetchError,
    BackendError,
    BadGraphError,
    MissingBlobError,
    WrongHashError,
    BusError,
    TimeoutError,
    OSError,
)
"""What leaves one command without an answer, as people are told; anything else does too, with a traceback."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a profile is true for, and what measuring it may take."""

    device: str
    boot_id: str
    backend: Backend
    threads: int
    profile_budget_s: float
    memory_left_bytes: Callable[[], int]
    """What measuring may take now."""
    capacity_cores: Callable[[], float]
    """As it is now."""


class Profiler:
    """Answers profile commands. `follow` is its loop."""

    def __init__(
        self,
        machine: Machine,
        *,
        bus: Bus,
        line: Line,
        cards: Cards,
        fetcher: Fetcher,
        store: BlobStore,
    ) -> None:
        self._machine = machine
        self._bus = bus
        self._line = line
        self._cards = cards
        self._fetcher = fetcher
        self._store = store
        self._known: dict[str, Profile] = {}
        self._frame_cost: tuple[float, FrameCost] | None = None
        self._asked: dict[str, bool] = {}
        """Models under way; True for one that was asked for again meanwhile."""
        self._one_at_a_time = asyncio.Lock()
        self.listening = asyncio.Event()
        """Set once what is asked is heard."""

    async def follow(self) -> None:
        """Until cancelled; a model whose card does not come keeps no other waiting, one that is measured does."""
        async with (
            self._bus.subscribe(DEVICE_COMMAND, device=self._machine.device) as commands,
            asyncio.TaskGroup() as answers,
        ):
            self.listening.set()
            async for delivery in commands:
                model = delivery.message.model
                # A probe is the monitor's.
                if delivery.message.kind != "profile":
                    continue
                if model in self._asked:
                    self._asked[model] = True
                elif len(self._asked) >= _MOST_ASKED:
                    self._bus.dropped("crowded", delivery.address, f"{_MOST_ASKED} models are to be measured already")
                else:
                    self._asked[model] = True
                    answers.create_task(self._while_asked(model), name=f"profile {model}")

    async def _while_asked(self, model: str) -> None:
        while self._asked[model]:
            self._asked[model] = False
            await self._carry_out(model)
        del self._asked[model]

    async def _carry_out(self, model: str) -> None:
        try:
            async with asyncio.timeout(_CARD_WITHIN_S):
                card = await self._cards.newest(model)
            async with self._one_at_a_time:
                await self._answer(model, card)
        except FAILURES as error:
            # The planner asks again, or plans without this device.
            why = "its card or graph did not come in time" if isinstance(error, TimeoutError) else error
            logger.warning("no profile of %s: %s", model, why)
        except Exception:
            # A card and a graph are somebody's words: what they make of each other is no end of this worker.
            logger.exception("no profile of %s", model)

    async def _answer(self, model: str, card: ModelCard) -> None:
        cores = self._machine.capacity_cores()
        profile = self._known.get(model)
        if profile is None or profile.card_sha != card.sha256 or not _same(profile.capacity_cores, cores):
            self._store.pin([card.graph.sha256])
            try:
                async with asyncio.timeout(_FETCH_WITHIN_S):
                    await self._fetcher.fetch(model, [card.graph], lambda _share: None)
                profile = self._known[model] = await self._measure(card, cores)
            finally:
                self._store.unpin([card.graph.sha256])
        await self._bus.publish(DEVICE_PROFILE, profile, device=self._machine.device, model=model)

    async def _measure(self, card: ModelCard, cores: float) -> Profile:
        if self._frame_cost is None or not _same(self._frame_cost[0], cores):
            private = f"profile-{self._machine.boot_id}"
            cost = await measure_frame_cost(
                self._bus, self._line, device=self._machine.device, private=private, capacity_cores=cores
            )
            self._frame_cost = (cores, cost)
        blocks = await self._measure_blocks(card)
        logger.info("profiled %s: %.1f ms in all", card.name, sum(blocks.block_ms), extra={"rounds": blocks.rounds})
        return Profile(
            device=self._machine.device,
            boot_id=self._machine.boot_id,
            model=card.name,
            card_sha=card.sha256,
            backend=self._machine.backend,
            threads=self._machine.threads,
            block_ms=blocks.block_ms,
            stage_overhead_ms=blocks.stage_overhead_ms,
            rest_ratio=blocks.rest_ratio,
            frame_ms=self._frame_cost[1].frame_ms,
            frame_ms_per_mb=self._frame_cost[1].frame_ms_per_mb,
            rounds=blocks.rounds,
            capacity_cores=cores,
        )

    async def _measure_blocks(self, card: ModelCard) -> ProfiledBlocks:
        stop = threading.Event()
        job = partial(
            profile_blocks,
            card,
            self._store,
            backend=self._machine.backend,
            threads=self._machine.threads,
            budget_s=self._machine.profile_budget_s,
            memory_budget_bytes=self._machine.memory_left_bytes(),
            scratch=self._store.root,
            should_stop=stop.is_set,
        )
        with ThreadPoolExecutor(1, thread_name_prefix="profile") as executor:
            try:
                return await asyncio.get_running_loop().run_in_executor(executor, job)
            finally:
                stop.set()


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=0.01)
