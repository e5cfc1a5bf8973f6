"""One emulated device: its own monitor and worker process, unchanged, under a limit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from broker.children import end
from stageline.emulation.cgroups import ControlGroup, NoCgroupsError, make_group
from stageline.emulation.duty_cycle import DutyCycle

_SERVICES: Final = ("monitor", "worker")


class Limiter(Protocol):
    """What keeps a device slow."""

    @property
    def method(self) -> str:
        """How it limits, for people."""

    def add(self, pid: int) -> None:
        """Put a process under the limit."""

    def set_cores(self, cores: float) -> None:
        """Change the limit."""


def limit(device: str, cores: float) -> Limiter:
    """The best limiter that is permitted here: the kernel's quota, else a duty cycle."""
    try:
        return make_group(device, cores)
    except NoCgroupsError:
        return DutyCycle(device, cores).start()


class EmulatedDevice:
    """A device of `cores` on this machine: `start`, `stop`; `kill` one of its services; start again.

    Args:
        name: the device's name on the bus.
        cores: CPU it may use, in cores.
        folder: where it keeps blobs and logs.
        broker: the broker's address.
        environment: further `STAGELINE_...` settings, e.g. a memory budget.
    """

    def __init__(
        self, name: str, cores: float, *, folder: Path, broker: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.cores = cores
        self.folder = folder
        self._broker = broker
        self._environment = dict(environment or {})
        self._limiter: Limiter | None = None
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def method(self) -> str:
        """How its CPU is limited; known once started."""
        return self._limiter.method if self._limiter else "not started"

    def pid(self, service: str) -> int:
        """Process id of its "monitor" or "worker"."""
        return self._processes[service].pid

    def start(self, **environment: str) -> None:
        """Start monitor and worker under the limit; settings given here are for this start and later ones."""
        self._environment |= environment
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._limiter is None:
            self._limiter = limit(self.name, self.cores)
        for service in _SERVICES:
            if service not in self._processes:
                self._processes[service] = self._launch(service)
                self._limiter.add(self._processes[service].pid)

    def log(self, service: str) -> str:
        """What a service of this device wrote so far."""
        return (self.folder / f"{service}.log").read_text(errors="replace")

    def failed(self) -> str | None:
        """The name of a service that ended by itself, or None while all is well."""
        return next((name for name, process in self._processes.items() if process.poll() is not None), None)

    def kill(self, service: str) -> None:
        """SIGKILL one service, as a power cut would."""
        process = self._processes.pop(service)
        process.kill()
        process.wait()

    def stop_services(self) -> None:
        """End monitor and worker in good order; the limit stays for the next `start`."""
        end(*self._processes.values())
        self._processes.clear()

    def stop(self) -> None:
        """End everything and give the limit back."""
        self.stop_services()
        if isinstance(self._limiter, ControlGroup):
            self._limiter.remove()
        elif isinstance(self._limiter, DutyCycle):
            self._limiter.stop()
        self._limiter = None

    def _launch(self, service: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "STAGELINE_BROKER": self._broker,
            "STAGELINE_DEVICE": self.name,
            "STAGELINE_STATE_DIR": str(self.folder),
            **self._environment,
        }
        if not isinstance(self._limiter, ControlGroup):
            environment["STAGELINE_CAPACITY_CORES"] = str(self.cores)
        with (self.folder / f"{service}.log").open("ab") as log:
            return subprocess.Popen(
                [*tied_to_us(), sys.executable, "-m", f"services.{service}.main"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )


def tied_to_us() -> list[str]:
    """A command prefix that ends the child when we are killed; the kernel ties it to the starting thread."""
    setpriv = shutil.which("setpriv")
    if setpriv is None or threading.current_thread() is not threading.main_thread():
        return []
    return [setpriv, "--pdeathsig", "TERM", "--"]
