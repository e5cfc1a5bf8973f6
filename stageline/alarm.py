"""One timer for all that is due at some time: sleeps until the earliest, and wakes when something sooner comes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Alarm:
    """Calls `ring` whenever the time that `due(now)` names has come; None: nothing is due. Times are the loop's."""

    def __init__(self, due: Callable[[float], float | None], ring: Callable[[], None]) -> None:
        self._due = due
        self._ring = ring
        self._sooner = asyncio.Event()
        self._set_for = math.inf

    def reconsider(self) -> None:
        """Something changed: wake up if it is due before what was being waited for."""
        due = self._due(asyncio.get_running_loop().time())
        if due is not None and due < self._set_for:
            self._sooner.set()

    async def run(self) -> None:
        """Keep time until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._sooner.clear()
            due = self._due(loop.time())
            self._set_for = math.inf if due is None else due
            try:
                async with asyncio.timeout_at(due):
                    await self._sooner.wait()
            except TimeoutError:
                self._ring()
