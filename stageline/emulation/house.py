"""A whole house on one machine: a private broker, a planner and emulated devices, each service a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from broker.children import end, tied_to_us
from broker.embedded import EmbeddedBroker
from stageline.emulation.caretaker import caretaker, mark
from stageline.emulation.cgroups import sweep
from stageline.emulation.device import EmulatedDevice


class ServiceEndedError(RuntimeError):
    """A process of the house ended by itself; the message holds the end of its log."""

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
    planner: subprocess.Popen[bytes] | None
    """None while it is killed and not started again."""
    planner_environment: dict[str, str] = field(default_factory=dict)
    """Further `STAGELINE_...` settings of the planner."""

    def device(self, name: str) -> EmulatedDevice:
        """The device of that name."""
        return next(device for device in self.devices if device.name == name)

    def kill_planner(self) -> None:
        """SIGKILL the planner, as a power cut would."""
        if self.planner is not None:
            self.planner.kill()
            self.planner.wait()
            self.planner = None

    def start_planner(self, **environment: str) -> None:
        """Start a planner where there is none; settings given here are for this start and later ones."""
        self.planner_environment |= environment
        if self.planner is None:
            self.planner = _planner(self.broker.url, self.folder, self.library, self.planner_environment)

    def restart_planner(self) -> None:
        """SIGKILL the planner and start another."""
        self.kill_planner()
        self.start_planner()

    def check(self) -> None:
        """Say so when one of the processes is gone.

        Raises:
            ServiceEndedError: one is.
        """
        if self.broker.ended:
            raise ServiceEndedError("mosquitto", self.broker.log())
        if self.planner is not None and self.planner.poll() is not None:
            raise ServiceEndedError("the planner", (self.folder / "planner.log").read_text(errors="replace"))
        for device in self.devices:
            if service := device.failed():
                raise ServiceEndedError(f"{device.name}'s {service}", device.log(service))


@contextmanager
def inhabited(
    broker: EmbeddedBroker,
    devices: tuple[EmulatedDevice, ...],
    *,
    folder: Path,
    library: Path,
    planner_environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[House]:
    """Start the planner and the devices of a broker that runs; end them, in order, whatever happens.

    Args:
        broker: started already, since the devices were told its address.
        devices: not started yet.
        folder: for the planner's log.
        library: the planner's model library; models may be imported into it at any time.
        planner_environment: further `STAGELINE_...` settings of the planner.
    """
    with ExitStack() as stack:
        sweep()
        stack.enter_context(caretaker())
        running = House(broker, devices, folder, library, None)
        running.start_planner(**planner_environment)
        stack.callback(lambda: end(*([running.planner] if running.planner else [])))
        for device in devices:
            stack.callback(device.stop)
            device.start()
        yield running


def _planner(broker: str, folder: Path, library: Path, further: Mapping[str, str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "STAGELINE_BROKER": broker, "STAGELINE_LIBRARY": str(library), **further, **mark()}
    with (folder / "planner.log").open("ab") as log:
        return subprocess.Popen(
            [*tied_to_us(), sys.executable, "-m", "services.planner.main"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
