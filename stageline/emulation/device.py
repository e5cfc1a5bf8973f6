"""One emulated device: its own monitor and worker process, unchanged, under a limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from broker.children import end, tied_to_us
from services.worker.memory import default_budget_bytes
from stageline.emulation.caretaker import mark
from stageline.emulation.limiter import Limiter, enforced, limit
from stageline.emulation.usage import cpu_s, resident_bytes

SERVICES: Final = ("monitor", "worker")


class EmulatedDevice:
    """A device of `cores` on this machine: `start`, `stop`; `kill` one of its services; start again.

    Args:
        name: the device's name on the bus.
        cores: CPU it may use, in cores.
        folder: where it keeps blobs and logs.
        broker: the broker's address, as it is reached from the device.
        memory_bytes: what its processes may hold together; None does not limit them. Where nothing enforces that, the
            worker is told its part of it.
        environment: further `STAGELINE_...` settings, e.g. a memory budget.
        entering: a command prefix that starts a process inside the device, e.g. in its network.
    """

    def __init__(
        self,
        name: str,
        cores: float,
        *,
        folder: Path,
        broker: str,
        memory_bytes: int | None = None,
        environment: Mapping[str, str] | None = None,
        entering: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.cores = cores
        self.memory_bytes = memory_bytes
        self.folder = folder
        self._broker = broker
        self._environment = dict(environment or {})
        self._entering = tuple(entering)
        self._limiter: Limiter | None = None
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.python: tuple[str, ...] = (sys.executable, "-m")
        """What runs a service's module, from its next start on."""
        self._spent_s = dict.fromkeys(SERVICES, 0.0)
        self._others: list[subprocess.Popen[bytes]] = []

    @property
    def method(self) -> str:
        """How its CPU is limited; known once started."""
        return self._limiter.method if self._limiter else "not started"

    @property
    def enforced(self) -> bool:
        """Whether the kernel enforces its limits; known once started."""
        return self._limiter is not None and enforced(self._limiter)

    def pid(self, service: str) -> int:
        """Process id of its "monitor" or "worker"."""
        return self._processes[service].pid

    def start(self, **environment: str) -> None:
        """Start monitor and worker under the limit; settings given here are for this start and later ones."""
        self._environment |= environment
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._limiter is None:
            self._limiter = limit(self.name, self.cores, self.memory_bytes)
        for service in SERVICES:
            if service not in self._processes:
                self._processes[service] = self._launch(service, self._limiter)
                self._limiter.add(self._processes[service].pid)

    def set_cores(self, cores: float) -> None:
        """Give it more or less CPU from now on. Where nothing enforces it, its services still report what they had."""
        self.cores = cores
        if self._limiter is not None:
            self._limiter.set_cores(cores)

    def burden(self, programs: int) -> None:
        """Have so many other programs compute all the time on this device, in place of those before; 0 ends them."""
        end(*self._others)
        self._others = []
        if programs and self._limiter is None:
            raise RuntimeError(f"{self.name} is not started: nothing can run on it")
        if self._limiter is not None:
            self._others = [self._busy(self._limiter) for _ in range(programs)]

    def cpu_s(self, service: str) -> float:
        """CPU seconds that a service of this device used so far, lives that ended included."""
        process = self._processes.get(service)
        return self._spent_s[service] + (cpu_s(process.pid) if process else 0.0)

    def resident_bytes(self, service: str) -> int:
        """Memory that a service of this device holds now."""
        process = self._processes.get(service)
        return resident_bytes(process.pid) if process else 0

    def log(self, service: str) -> str:
        """What a service of this device wrote so far."""
        return (self.folder / f"{service}.log").read_text(errors="replace")

    def failed(self) -> str | None:
        """The name of a service that ended by itself, or None while all is well."""
        return next((name for name, process in self._processes.items() if process.poll() is not None), None)

    def kill(self, service: str) -> None:
        """SIGKILL one service, as a power cut would."""
        self._spent_s[service] = self.cpu_s(service)
        process = self._processes.pop(service)
        process.kill()
        process.wait()

    def stop_services(self) -> None:
        """End monitor and worker in good order; the limit stays for the next `start`."""
        for service in self._processes:
            self._spent_s[service] = self.cpu_s(service)
        end(*self._processes.values())
        self._processes.clear()

    def stop(self) -> None:
        """End everything and give the limit back."""
        if self._limiter is not None:
            # Taking leave in good order is work too, and nobody waits for a slow device any more.
            self._limiter.set_cores(float(os.cpu_count() or 1))
        self.burden(0)
        self.stop_services()
        if self._limiter is not None:
            self._limiter.release()
        self._limiter = None

    def _launch(self, service: str, limiter: Limiter) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "STAGELINE_BROKER": self._broker,
            "STAGELINE_DEVICE": self.name,
            "STAGELINE_STATE_DIR": str(self.folder),
            **self._environment,
            **mark(),
        }
        if not enforced(limiter):
            environment["STAGELINE_CAPACITY_CORES"] = str(self.cores)
            if self.memory_bytes is not None:
                budget_mb = default_budget_bytes(self.memory_bytes) / 1e6
                environment.setdefault("STAGELINE_MEMORY_BUDGET_MB", f"{budget_mb:.1f}")
        # SIGKILL: a duty cycle may have stopped it just when we are killed, and a stopped process hears nothing else.
        command = [*tied_to_us(signal.SIGKILL), *self._entering, *limiter.entering()]
        with (self.folder / f"{service}.log").open("ab") as log:
            return subprocess.Popen(
                [*command, *self.python, f"services.{service}.main"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _busy(self, limiter: Limiter) -> subprocess.Popen[bytes]:
        """A program that does nothing but compute, under the device's limit."""
        command = [*tied_to_us(signal.SIGKILL), *limiter.entering(), sys.executable, "-S", "-c", "while True: pass"]
        busy = subprocess.Popen(command, env={**os.environ, **mark()}, stdin=subprocess.DEVNULL)
        limiter.add(busy.pid)
        return busy
