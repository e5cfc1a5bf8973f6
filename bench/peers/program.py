"""One process of a peer, as the one who measures holds it: started, talked to, put under a quota, ended by its id."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from broker.children import end, tied_to_us
from stageline.emulation.limiter import Limiter, limit

START_TIMEOUT_S: Final = 120.0
SUBMITTER: Final = "submitter"
"""The key of programs that stand for whoever asks: they are on no device and under no quota."""
STARTER: Final = "starter"
"""The key of programs that only start others and hand them commands; what they take is counted nowhere."""
_LOG_LINES: Final = 15
_PATIENCE_S: Final = 3.0
_ROOT: Final = Path(__file__).parents[2]
# In a network of its own a machine may not know its own name; all of these systems look for an address by it.
_LOOPBACK: Final = {"GLOO_SOCKET_IFNAME": "lo", "TP_SOCKET_IFNAME": "lo"}


class PeerFailedError(RuntimeError):
    """A peer's program ended, fell silent or could not do what it was told; the message has the end of its log."""


@dataclass(frozen=True)
class Role:
    """One process of a line: what it runs, and on whose quota."""

    key: str
    """The device it stands for, or `SUBMITTER`."""
    module: str
    arguments: tuple[str, ...]
    cores: float | None
    """None: not limited."""


class Program:
    """The process of one role."""

    def __init__(self, role: Role, *, owner: str) -> None:
        self.role = role
        self._owner = owner
        self._limiters: list[Limiter] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  closed in `end`
        self._process = subprocess.Popen(
            [*tied_to_us(), sys.executable, "-m", role.module, *role.arguments],
            cwd=_ROOT,
            env={**_LOOPBACK, **os.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def tell(self, **command: Any) -> None:
        """Send a command.

        Raises:
            PeerFailedError: the program is gone.
        """
        pipe = self._process.stdin
        try:
            if pipe is not None:
                pipe.write(json.dumps(command).encode() + b"\n")
                pipe.flush()
        except OSError as error:
            raise self._failure("ended by itself") from error

    def hear(self, timeout_s: float) -> dict[str, Any]:
        """What it says next.

        Raises:
            PeerFailedError: it says nothing in that time, or has ended.
        """
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty as error:
            raise self._failure(f"said nothing for {timeout_s:g} s") from error
        if line is None:
            raise self._failure("ended by itself")
        said: dict[str, Any] = json.loads(line)
        return said

    def confine(self, cores: float, pid: int | None = None) -> None:
        """Put it, or a process of its own making, under a quota."""
        limiter = limit(f"{self._owner}-{self.role.key}-{self.pid}-{len(self._limiters)}", cores)
        self._limiters.append(limiter)
        limiter.add(self.pid if pid is None else pid)

    def processes(self) -> list[psutil.Process]:
        """Itself and all that it started."""
        own = psutil.Process(self.pid)
        return [own, *own.children(recursive=True)]

    def end(self) -> None:
        """End it and what it started, and give its quotas back. Safe to call on whatever state it is in."""
        try:
            left = self.processes()[1:]
        except psutil.NoSuchProcess:
            left = []
        pipe = self._process.stdin
        if pipe is not None:
            with suppress(OSError):  # It went first, and what was still to be written has nobody to read it.
                pipe.close()
        try:
            # The end of its input is its sign to leave in good order.
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            end(self._process, patience_s=_PATIENCE_S)
        _end_rest(left)
        # Whatever held the other end is gone by now.
        self._listener.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        for limiter in self._limiters:
            limiter.release()
        self._limiters.clear()
        self._log.close()

    def _listen(self) -> None:
        pipe = self._process.stdout
        for line in pipe if pipe is not None else ():
            self._lines.put(line.decode())
        self._lines.put(None)

    def _failure(self, what: str) -> PeerFailedError:
        self._log.seek(0)
        said = "\n".join(self._log.read().splitlines()[-_LOG_LINES:])
        return PeerFailedError(f"{self._owner}: {self.role.module} for {self.role.key} {what}. Its log ends:\n{said}")


def _end_rest(processes: Sequence[psutil.Process]) -> None:
    """Frameworks start processes that may survive whoever started them."""
    for how in ("terminate", "kill"):
        deadline = time.monotonic() + _PATIENCE_S
        for process in processes:
            try:
                getattr(process, how)()
            except psutil.NoSuchProcess:
                continue
        processes = psutil.wait_procs(processes, max(0.0, deadline - time.monotonic()))[1]
