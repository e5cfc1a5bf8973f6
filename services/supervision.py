"""A service under systemd's eye: up when it says so, alive for as long as its threads get on, and what it does now.

A sign of life goes out at half the time that systemd allows between two, from the event loop, so a loop that hangs
sends none; and only while the service's own work gets on too. Until the service is ready each sign also asks for more
time to start: looking for a hub that boots later, or fetching weights over a slow link, may take long.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from services.notify import notify, somebody_listens, watchdog_s

_STATUS_EVERY_S: Final = 10.0
"""Where no sign of life is wanted."""

Advances = Callable[[float], bool]
"""Whether the service's work has got on within so many seconds."""


@contextlib.asynccontextmanager
async def supervised(advances: Advances, status: Callable[[], str]) -> AsyncIterator[Callable[[], None]]:
    """Keep systemd informed while inside; call what is given when the service is up.

    Args:
        advances: asked before each sign of life.
        status: a line for people who ask `systemctl status`.
    """
    if not somebody_listens():
        yield _nothing
        return
    supervision = _Supervision(advances, status)
    async with asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(supervision.keep_telling(), name="supervision")
        yield supervision.ready
        telling.cancel()


class ExecutorPulse:
    """Whether the threads that slow work is given to (`asyncio.to_thread`) still take work."""

    def __init__(self) -> None:
        self._beat: asyncio.Future[None] | None = None

    def __call__(self, _within_s: float) -> bool:
        """Whether the empty task that they were given the last time is done; they are asked once a period."""
        if self._beat is not None and not self._beat.done():
            return False
        self._beat = asyncio.get_running_loop().run_in_executor(None, _nothing)
        return True


class _Supervision:
    def __init__(self, advances: Advances, status: Callable[[], str]) -> None:
        self._advances = advances
        self._status = status
        self._is_ready = False
        self._said_ready = False
        self._service = asyncio.current_task()

    def ready(self) -> None:
        self._is_ready = True
        self._said_ready = notify(ready=1, status=self._status())

    async def keep_telling(self) -> None:
        loop = asyncio.get_running_loop()
        allowed_s = watchdog_s()
        every_s = allowed_s / 2 if allowed_s else _STATUS_EVERY_S
        due = loop.time()
        while True:
            self._tell(every_s, wanted=allowed_s is not None)
            due = max(due + every_s, loop.time())
            await asyncio.sleep(due - loop.time())

    def _tell(self, every_s: float, *, wanted: bool) -> None:
        signs: dict[str, str | int] = {}
        advances = self._advances(every_s)
        if advances and wanted:
            signs["watchdog"] = 1
        if not self._is_leaving:
            signs["status"] = self._status()
            if self._is_ready and not self._said_ready:
                signs["ready"] = 1
            elif advances and not self._is_ready:
                signs["extend_timeout_usec"] = int(3 * every_s * 1e6)
        if signs and notify(**signs):
            self._said_ready |= "ready" in signs

    @property
    def _is_leaving(self) -> bool:
        """It was told to stop: what it then says of itself holds, and it gets no more time than its unit gives it."""
        return self._service is not None and self._service.cancelling() > 0


def _nothing() -> None:
    """What is done where nobody asks for more."""
