"""How a child process is ended: asked first, made to when it does not."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from typing import Final

PATIENCE_S: Final = 10.0


def end(
    *children: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM, patience_s: float = PATIENCE_S
) -> None:
    """End them all, at once rather than one after the other, and return when they are gone."""
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(how)
    for child in children:
        try:
            child.wait(patience_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


async def end_async(*children: asyncio.subprocess.Process, patience_s: float = PATIENCE_S) -> None:
    """The same for children of an event loop."""
    await asyncio.gather(*(_end_one(child, patience_s) for child in children))


async def _end_one(child: asyncio.subprocess.Process, patience_s: float) -> None:
    if child.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(patience_s):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()
