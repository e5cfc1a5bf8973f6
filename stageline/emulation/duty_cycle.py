"""Where control groups are not permitted: stop and continue a device's processes, many times a second.

Coarser than a quota (a stopped process cannot even answer), but it needs no rights over anything but one's own
children. The device must be told its capacity (`STAGELINE_CAPACITY_CORES`): nothing it could read says so.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Final, Self

PERIOD_S: Final = 0.02


class DutyCycle:
    """Lets some processes run for `cores` of every period. For devices of up to one core; `start`, `add`, `release`."""

    def __init__(self, device: str, cores: float) -> None:
        self._run_s = min(1.0, max(0.02, cores)) * PERIOD_S
        self._pids: set[int] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._cycle, name=f"duty-cycle {device}", daemon=True)

    @property
    def method(self) -> str:
        """How it limits, for people."""
        return f"duty cycle (stop and continue, {PERIOD_S * 1000:.0f} ms period)"

    def start(self) -> Self:
        """Begin to cycle."""
        self._thread.start()
        return self

    def entering(self) -> list[str]:
        """No command prefix makes a process slow; `add` does."""
        return []

    def add(self, pid: int) -> None:
        """Slow this process down too."""
        with self._lock:
            self._pids.add(pid)

    def set_cores(self, cores: float) -> None:
        """Change the share."""
        self._run_s = min(1.0, max(0.02, cores)) * PERIOD_S

    def release(self) -> None:
        """Let everything run freely again."""
        self._stopping.set()
        self._thread.join()

    def _cycle(self) -> None:
        while not self._stopping.is_set():
            self._signal(signal.SIGCONT)
            if self._stopping.wait(self._run_s):
                return
            if self._run_s < PERIOD_S:
                self._signal(signal.SIGSTOP)
                self._stopping.wait(PERIOD_S - self._run_s)
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            for pid in list(self._pids):
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    self._pids.discard(pid)
