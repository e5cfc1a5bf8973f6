"""A fleet that runs: what it uses, and how its devices and links are changed while it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.testbed.apart import tcp_ports
from bench.testbed.network import Network
from broker.embedded import EmbeddedBroker
from stageline.emulation.device import SERVICES, EmulatedDevice
from stageline.emulation.fleet_file import FleetFile, FleetLink
from stageline.emulation.house import House
from stageline.emulation.usage import cpu_s, resident_bytes

N = TypeVar("N", int, float)


class NotShapedError(RuntimeError):
    """A link was to be changed, and this testbed has none of its own to change; the message says why."""

    def __init__(self, unshaped: tuple[str, ...]) -> None:
        super().__init__(f"this link cannot be changed: {'; '.join(unshaped)}")


@dataclass(frozen=True, slots=True)
class Testbed:
    """A fleet that runs (see `testbed`).

    Attributes:
        fleet: what was asked for.
        house: what runs.
        links: the emulated network; None when every device is on this machine's loopback.
        unshaped: what of the fleet is not emulated here, a clause each, for people.
    """

    __test__ = False  # Its name begins like a test's.

    fleet: FleetFile
    house: House
    links: Network | None
    unshaped: tuple[str, ...]

    @property
    def url(self) -> str:
        """The broker's address, from here and from every device."""
        return self.house.broker.url

    @property
    def broker(self) -> EmbeddedBroker:
        """The broker."""
        return self.house.broker

    @property
    def planner_pid(self) -> int:
        """Process id of the planner; 0 while there is none."""
        return self.house.planner.pid if self.house.planner else 0

    @property
    def devices(self) -> tuple[EmulatedDevice, ...]:
        """The devices, in the fleet's order."""
        return self.house.devices

    @property
    def folder(self) -> Path:
        """Where the logs are: `planner.log`, and per device `NAME/worker.log` and `NAME/monitor.log`."""
        return self.house.folder

    def device(self, name: str) -> EmulatedDevice:
        """The device of that name."""
        return self.house.device(name)

    def set_cores(self, name: str, cores_here: float) -> None:
        """Give a device so many real cores from now on."""
        self.device(name).set_cores(cores_here)

    def set_link(self, name: str, link: FleetLink) -> bool:
        """Change a device's link, now; False when the delay that it asks for cannot be had here.

        Raises:
            NotShapedError: links are not emulated here.
        """
        return self._shaped.set_link(name, link)

    def slow_frames(self, name: str, mbps: float) -> frozenset[int]:
        """Make a device's link so slow for the connections that its worker has now, and for nothing else.

        Frames become slow, the monitor's probes do not: a link whose measurement tells nothing of it.

        Returns:
            The worker's ports; for new ones, `slow_new_frames`.

        Raises:
            NotShapedError: links are not emulated here, this one has no rate of its own, or its worker no connection.
        """
        device = self.device(name)
        link = next(one.link for one in self.fleet.devices if one.name == name)
        if link is None:
            raise NotShapedError((f"{name} has no link in the fleet file",))
        ports = tcp_ports(device.pid("worker"))
        if not ports:
            raise NotShapedError((f"the worker of {name} has no connection",))
        self._shaped.set_apart(name, link, ports, mbps)
        return frozenset(ports)

    def slow_new_frames(self, name: str, slowed: frozenset[int]) -> frozenset[int]:
        """Make connections as slow that a worker has made since `slow_frames`; returns all that are slow by now."""
        new = frozenset(tcp_ports(self.device(name).pid("worker"))) - slowed
        if new:
            self._shaped.add_apart(name, sorted(new))
        return slowed | new

    def cut(self, name: str) -> None:
        """Pull a device's cable out: nobody is told, packets just stop.

        Raises:
            NotShapedError: links are not emulated here.
        """
        self._shaped.plug(name, plugged=False)

    def mend(self, name: str) -> None:
        """Put a cable back.

        Raises:
            NotShapedError: links are not emulated here.
        """
        self._shaped.plug(name, plugged=True)

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far, of "broker", "planner", "monitors", "workers" and each "monitor:NAME", "worker:NAME"."""
        hub = {"broker": cpu_s(self.broker.pid), "planner": cpu_s(self.planner_pid)}
        return hub | self._by_service(EmulatedDevice.cpu_s)

    def resident_bytes(self) -> dict[str, int]:
        """Memory held now, under the same names; pages that processes share count for each of them."""
        hub = {"broker": resident_bytes(self.broker.pid), "planner": resident_bytes(self.planner_pid)}
        return hub | self._by_service(EmulatedDevice.resident_bytes)

    def check(self) -> None:
        """Say so when one of the services is gone.

        Raises:
            stageline.emulation.house.ServiceEndedError: one ended by itself; says how its log ends.
        """
        self.house.check()

    @property
    def _shaped(self) -> Network:
        if self.links is None:
            raise NotShapedError(self.unshaped)
        return self.links

    def _by_service(self, of: Callable[[EmulatedDevice, str], N]) -> dict[str, N]:
        """What `of` says of every device's services, under the service's name in the plural and one by one."""
        used: dict[str, N] = {}
        for service in SERVICES:
            each = {f"{service}:{device.name}": of(device, service) for device in self.devices}
            used |= {f"{service}s": sum(each.values()), **each}
        return used
