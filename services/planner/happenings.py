"""What happened and is not worked through yet, in order; what is said again and again does not pile up meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from schemas.stages import StagesHeld
from services.planner.events import Event, Held, Tick


@dataclass(frozen=True, slots=True)
class _Report:
    """A device's latest report is to be looked at."""

    device: str


class Happenings:
    """A queue of events, each for one deployment or, with None, for all.

    While the broker is away nothing works through them: so one tick waits at most, and of each device one report, the
    latest, in the place of the first.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[str | None, Event | _Report]] = asyncio.Queue()
        self._reports: dict[str, StagesHeld] = {}
        self._tick_waits = False

    def __len__(self) -> int:
        return self._queue.qsize()

    def put(self, deployment: str | None, event: Event) -> None:
        """Something happened."""
        match event:
            case Held(held):
                if held.device not in self._reports:
                    self._queue.put_nowait((deployment, _Report(held.device)))
                self._reports[held.device] = held
            case Tick():
                if not self._tick_waits:
                    self._queue.put_nowait((deployment, event))
                self._tick_waits = True
            case _:
                self._queue.put_nowait((deployment, event))

    async def take(self) -> tuple[str | None, Event]:
        """The next thing that happened, when there is one."""
        deployment, waiting = await self._queue.get()
        if isinstance(waiting, _Report):
            return deployment, Held(self._reports.pop(waiting.device))
        self._tick_waits = self._tick_waits and not isinstance(waiting, Tick)
        return deployment, waiting
