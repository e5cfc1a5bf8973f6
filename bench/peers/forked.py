"""Several ranks from one process: PyTorch is imported and the module built once, then every rank is a fork of that."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
"""From Linux's sys/prctl.h."""


def fork(target: Callable[[int, Connection], None], rank: int) -> tuple[BaseProcess, Connection]:
    """Start `target(rank, connection)` in a copy of this process that dies with us; the pipe's other end is ours.

    To be called before anything here has started threads.
    """
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_run, args=(target, rank, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def pid_of(process: BaseProcess) -> int:
    """Process id of one that was started."""
    if process.pid is None:
        raise RuntimeError("this process was not started")
    return process.pid


def _run(target: Callable[[int, Connection], None], rank: int, connection: Connection) -> None:
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        # A rank may wait for another one for ever; the kernel ends it with the process it came from.
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    target(rank, connection)
