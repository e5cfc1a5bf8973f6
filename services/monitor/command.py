"""Asking the system's own small programs (`vcgencmd`, `nvidia-smi`) without holding up the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

logger = logging.getLogger(__name__)

Runner = Callable[[tuple[str, ...]], Awaitable[str | None]]
"""Runs a command and gives its standard output; None when it is missing, fails or hangs."""

TIMEOUT_S: Final = 3.0


async def run_command(command: tuple[str, ...]) -> str | None:
    """The real `Runner`."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            output, _ = await process.communicate()
    except TimeoutError:
        logger.warning("%s did not answer in %.0f s", command[0], TIMEOUT_S)
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output.decode(errors="replace") if process.returncode == 0 else None
