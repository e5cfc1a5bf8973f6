"""Holds the stages that plans place here: loads, serves, drains and drops them, and says which are in what state."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from broker.bus import BrokerUnreachableError
from models.runtime import stage_memory_bytes
from schemas.model import ModelCard
from schemas.stages import HeldStage, StageState
from services.worker.assignments import Assignment, StageKey
from services.worker.cards import Cards
from services.worker.fetch import FetchError
from services.worker.following import Drain, Drop, Held, Load, Revive, decide
from services.worker.lane import Lane
from services.worker.line import Line, Traffic
from services.worker.memory import MemoryRefusedError, check_fit, lasting
from services.worker.plan_book import PlanBook
from services.worker.plan_check import PlanMismatchError, check_against
from services.worker.runners import BuildError, Runners

logger = logging.getLogger(__name__)

_LOOK_AGAIN_S: Final = 0.25
_PROGRESS_EVERY_S: Final = 0.25
_MOST_TOLD_BYTES: Final = 2**53
"""What a report can say (`HeldStage.memory_bytes`); a card may ask for more than any machine has."""


FAILURES: Final = (FetchError, BuildError, MemoryRefusedError, PlanMismatchError, OSError)
"""What fails one stage (OSError: its cache is full, or cannot be written); anything else ends the worker: a bug."""


@dataclass
class _Entry:
    """One stage and what is known of it."""

    assignment: Assignment
    state: StageState = "loading"
    error: str = ""
    memory_bytes: int = 0
    draining_since_s: float = 0.0
    traffic: Traffic = field(default_factory=Traffic)
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a holder may take, and how long it lets go."""

    memory_budget_bytes: int
    memory_free_bytes: Callable[[], int]
    """Free on this device now."""
    drain_s: float
    """How long a replaced stage must be quiet before it is dropped."""
    drain_most_s: float
    """After that it is dropped anyway."""


class Holder:
    """The stages of one worker. `follow` and `report` are its loops."""

    def __init__(self, device: str, *, line: Line, runners: Runners, cards: Cards, limits: Limits) -> None:
        self._device = device
        self._line = line
        self._runners = runners
        self._cards = cards
        self._limits = limits
        self._entries: dict[StageKey, _Entry] = {}
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._stirred = asyncio.Event()
        """Set, and replaced, whenever something has been done about the plans."""

    def held(self) -> tuple[HeldStage, ...]:
        """All stages, as the planner is told."""
        return tuple(self._describe(key, entry) for key, entry in sorted(self._entries.items()))

    @property
    def memory_bytes(self) -> int:
        """What all slices take that are held or being loaded; a shared one counts once."""
        holding = [entry for entry in self._entries.values() if entry.state != "failed"]
        return sum({entry.assignment.slice: entry.memory_bytes for entry in holding}.values())

    async def settled(self, book: PlanBook) -> None:
        """Return when every stage that the plans want of this device is up, or has failed."""
        while not self._is_settled(book):
            await self._stirred.wait()

    @property
    def summary(self) -> str:
        """For people, in a line: `stages: 1 loading, 2 ready`."""
        counts = Counter(entry.state for entry in self._entries.values())
        told = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
        return f"stages: {told}" if told else "no stages"

    async def follow(self, book: PlanBook, changed: asyncio.Event) -> None:
        """Do what the plans ask, until cancelled. `changed` is set when they may ask something new."""
        async with asyncio.TaskGroup() as stages:
            while True:
                for action in decide(self._as_held(), book.upcoming, book.current, self._device):
                    match action:
                        case Load(assignment):
                            entry = self._entries[assignment.key] = _Entry(assignment)
                            entry.task = stages.create_task(self._hold(entry), name=f"stage {assignment.key}")
                        case Drop(key):
                            self._drop(key)
                        case Drain(key):
                            self._entries[key].draining_since_s = time.monotonic()
                            self._change(self._entries[key], "draining")
                        case Revive(key):
                            self._change(self._entries[key], "ready")
                self._stir()
                draining = any(entry.state == "draining" for entry in self._entries.values())
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), _LOOK_AGAIN_S if draining else None)
                changed.clear()

    async def report(self, announce: Callable[[], Awaitable[None]]) -> None:
        """Announce changes until cancelled: states at once, progress a few times a second."""
        while True:
            await self._news.wait()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._urgent.wait(), _PROGRESS_EVERY_S)
            self._news.clear()
            self._urgent.clear()
            await announce()

    async def _hold(self, entry: _Entry) -> None:
        """One stage's whole life, until it is dropped (cancelled) or fails."""
        one = entry.assignment
        while True:
            try:
                if one.refused:
                    raise PlanMismatchError(one.refused)
                card = await self._cards.exact(one.model, one.slice.card_sha)
                self._check(entry, card)
                async with self._runners.borrow(one.model, one.slice, card, self._news.set) as runner:
                    entry.memory_bytes = max(entry.memory_bytes, runner.memory_bytes)
                    lane = Lane.of(self._device, one, card, runner)
                    await self._line.serve(lane, entry.traffic, partial(self._change, entry, "ready"))
            except BrokerUnreachableError as error:
                logger.warning("stage waits for the broker: %s", error, extra=_fields(entry))
            except FAILURES as error:
                entry.error = str(error)
                self._change(entry, "failed")
                return

    def _check(self, entry: _Entry, card: ModelCard) -> None:
        wanted = entry.assignment.slice
        check_against(card, entry.assignment)
        entry.memory_bytes = stage_memory_bytes(card, wanted.first, wanted.last, wanted.exits)
        shared = any(
            other.assignment.slice == wanted and other.state in ("ready", "draining")
            for other in self._entries.values()
        )
        beside = lasting(self._as_held(), entry.assignment.key)
        check_fit(
            wanted,
            entry.memory_bytes,
            {
                one.assignment.slice: one.memory_bytes
                for one in self._entries.values()
                if one.assignment.slice in beside
            },
            self._limits.memory_budget_bytes,
            # What is in memory already needs nothing more.
            entry.memory_bytes if shared else self._limits.memory_free_bytes(),
        )

    def _drop(self, key: StageKey) -> None:
        entry = self._entries.pop(key)
        if entry.task is not None:
            entry.task.cancel()
        logger.info("stage dropped", extra={**_fields(entry), "state": entry.state})
        self._tell()

    def _change(self, entry: _Entry, state: StageState) -> None:
        entry.state = state
        level = logging.ERROR if state == "failed" else logging.INFO
        logger.log(level, "stage %s%s", state, f": {entry.error}" * bool(entry.error), extra=_fields(entry))
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._urgent.set()
        self._stir()

    def _stir(self) -> None:
        self._stirred.set()
        self._stirred = asyncio.Event()

    def _is_settled(self, book: PlanBook) -> bool:
        loading = any(entry.state == "loading" for entry in self._entries.values())
        todo = decide(self._as_held(), book.upcoming, book.current, self._device)
        return not loading and not any(isinstance(action, Load) for action in todo)

    def _as_held(self) -> dict[StageKey, Held]:
        now = time.monotonic()
        return {
            key: Held(entry.assignment, entry.state, drained=self._drained(entry, now))
            for key, entry in self._entries.items()
        }

    def _drained(self, entry: _Entry, now: float) -> bool:
        if entry.state != "draining":
            return False
        quiet_s = now - max(entry.draining_since_s, entry.traffic.last_frame_s)
        quiet = entry.traffic.in_flight == 0 and quiet_s >= self._limits.drain_s
        return quiet or now - entry.draining_since_s >= self._limits.drain_most_s

    def _describe(self, key: StageKey, entry: _Entry) -> HeldStage:
        one = entry.assignment
        loading = entry.state == "loading"
        return HeldStage(
            deployment=key.deployment,
            generation=key.generation,
            stage=key.stage,
            model=one.model,
            card_sha=one.slice.card_sha,
            first=one.slice.first,
            last=one.slice.last,
            variant=one.slice.variant,
            state=entry.state,
            progress=self._runners.progress(one.slice) if loading else 1.0,
            memory_bytes=min(entry.memory_bytes, _MOST_TOLD_BYTES),
            error=entry.error[:4096],
        )


def _fields(entry: _Entry) -> dict[str, object]:
    one = entry.assignment
    return {**one.key.fields, "model": one.model, "blocks": f"{one.slice.first}:{one.slice.last}"}
