"""Processes of ours that a test starts, and that end with it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def running(module: str, *arguments: object, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m module` with these arguments and, of STAGELINE_ variables, only those that are given."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STAGELINE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *map(str, arguments), env={**environment, **settings},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
