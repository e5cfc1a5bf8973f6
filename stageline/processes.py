"""Several processes as one: they start together, and when one ends or we are told to stop, all end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from broker.children import end_async, tied_to_us
from services.lifecycle import EXIT_CRASHED, EXIT_MEND

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
_SETTLED_S: Final = 60.0
"""A child that ran so long starts with the shortest pause again."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process to run; `environment` is added to ours (passwords go there: anybody can read a command line)."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def python_module(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules with this very Python."""
    return [sys.executable, "-m", module, *arguments]


@contextlib.asynccontextmanager
async def running(*children: Child) -> AsyncIterator[dict[str, asyncio.subprocess.Process]]:
    """Child processes by name while inside; all told to end (SIGTERM) when left, and made to where one does not."""
    processes: dict[str, asyncio.subprocess.Process] = {}
    try:
        for child in children:
            # A session of its own: Ctrl-C then reaches us alone, and we end the children in order.
            processes[child.name] = await asyncio.create_subprocess_exec(
                *tied_to_us(), *child.command, env={**os.environ, **child.environment},
                stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        yield processes
    finally:
        await end_async(*processes.values())


async def until_one_ends(processes: Mapping[str, asyncio.subprocess.Process]) -> int:
    """Wait until one of them ends by itself, which none should; says which, and returns what our exit code should be.

    A service's 2 (somebody must mend something) is ours too; everything else is a crash, 1.
    """
    waits = {asyncio.create_task(process.wait()): name for name, process in processes.items()}
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    ended = done.pop()
    status = ended.result()
    _LOG.error("%s ended with status %d; its last lines say why", waits[ended], status)
    return EXIT_MEND if status == EXIT_MEND else EXIT_CRASHED


class Kept:
    """A child that is started again when it ends by itself, later each time; use with `async with`."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._stack = contextlib.AsyncExitStack()
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> asyncio.subprocess.Process:
        await self._start()
        return self._process

    async def __aexit__(self, *problem: object) -> None:
        await self._stack.aclose()

    async def until_mend(self) -> int:
        """Keep it running until it ends with 2, which no new start would mend; returns that."""
        pause_s, loop = _FIRST_PAUSE_S, asyncio.get_running_loop()
        while True:
            started = loop.time()
            status = await self._process.wait()
            if status == EXIT_MEND:
                _LOG.error("%s ended with status %d; its last lines say why", self._child.name, status)
                return EXIT_MEND
            if loop.time() - started > _SETTLED_S:
                pause_s = _FIRST_PAUSE_S
            _LOG.error("%s ended with status %d; starting it again in %g s", self._child.name, status, pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            await self._start()

    async def _start(self) -> None:
        await self._stack.aclose()
        processes = await self._stack.enter_async_context(running(self._child))
        self._process = processes[self._child.name]
