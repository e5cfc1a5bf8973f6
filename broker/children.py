"""How a child process is ended: asked first, made to when it does not; and by the kernel when we are killed."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import subprocess
import threading
from typing import Any, Final

PATIENCE_S: Final = 10.0


def tied_to_us(how: signal.Signals = signal.SIGTERM, *, as_user: int | None = None) -> list[str]:
    """A command prefix that has the kernel end a child when we are killed; empty where that cannot be had.

    The kernel ties the promise to the thread that starts the child, which may end long before we do. So only the main
    thread makes it; a child that another thread starts relies on `end`.

    Args:
        how: the signal; SIGKILL also ends a child that was stopped.
        as_user: the child gives its rights up for those of this user and group. It must be done here: a change of
            user by the child itself would untie it.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None or threading.current_thread() is not threading.main_thread():
        return []
    user = [] if as_user is None else [f"--reuid={as_user}", f"--regid={as_user}", "--clear-groups"]
    return [setpriv, *user, "--pdeathsig", how.name.removeprefix("SIG"), "--"]


def end(*children: subprocess.Popen[Any], how: signal.Signals = signal.SIGTERM, patience_s: float = PATIENCE_S) -> None:
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
