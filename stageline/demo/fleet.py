"""The demo's machines: a private broker, a planner and three unequal devices, each service a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.children import end
from broker.embedded import EmbeddedBroker
from stageline.emulation.cgroups import sweep
from stageline.emulation.device import EmulatedDevice, tied_to_us

DEVICES: Final = {"jetson": 0.6, "pi4": 0.35, "pi3": 0.2}
"""Cores each may use. Together 1.15, so that two real cores leave air for the broker and whoever asks."""


class ServiceEndedError(RuntimeError):
    """A process of the demo ended by itself; the message holds the end of its log."""

    def __init__(self, name: str, log: str) -> None:
        last = "\n".join(log.strip().splitlines()[-15:])
        super().__init__(f"{name} ended by itself. The end of its log:\n{last}")


@dataclass(slots=True)
class House:
    """All that runs."""

    broker: EmbeddedBroker
    devices: tuple[EmulatedDevice, ...]
    folder: Path
    library: Path
    planner: subprocess.Popen[bytes]

    def device(self, name: str) -> EmulatedDevice:
        """The device of that name."""
        return next(device for device in self.devices if device.name == name)

    def restart_planner(self) -> None:
        """SIGKILL the planner and start another."""
        self.planner.kill()
        self.planner.wait()
        self.planner = _planner(self.broker.url, self.folder, self.library)

    def check(self) -> None:
        """Say so when one of the processes is gone.

        Raises:
            ServiceEndedError: one is.
        """
        if self.planner.poll() is not None:
            raise ServiceEndedError("the planner", (self.folder / "planner.log").read_text(errors="replace"))
        for device in self.devices:
            if service := device.failed():
                raise ServiceEndedError(f"{device.name}'s {service}", device.log(service))


@contextmanager
def house(
    folder: Path,
    library: Path,
    cores: Mapping[str, float] = DEVICES,
    environment: Mapping[str, str] | None = None,
) -> Iterator[House]:
    """Start everything; end everything, in order, whatever happens.

    Args:
        folder: for logs and the devices' blobs.
        library: the planner's model library; models may be imported into it at any time.
        cores: the devices and what each may use.
        environment: further `STAGELINE_...` settings of every device.
    """
    with ExitStack() as stack:
        sweep()
        broker = stack.enter_context(EmbeddedBroker())
        devices = tuple(
            EmulatedDevice(name, share, folder=folder / name, broker=broker.url, environment=environment)
            for name, share in cores.items()
        )
        running = House(broker, devices, folder, library, _planner(broker.url, folder, library))
        stack.callback(lambda: end(running.planner))
        for device in devices:
            stack.callback(device.stop)
            device.start()
        yield running


def _planner(broker: str, folder: Path, library: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "STAGELINE_BROKER": broker, "STAGELINE_LIBRARY": str(library)}
    with (folder / "planner.log").open("ab") as log:
        return subprocess.Popen(
            [*tied_to_us(), sys.executable, "-m", "services.planner.main"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
