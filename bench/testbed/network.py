"""The testbed's network: a bridge at the hub, and for each device a namespace with one cable to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Final

from pyroute2 import IPRoute

from bench.testbed.apart import add_apart, shape_apart
from bench.testbed.links import shape
from bench.testbed.namespace import LOOPBACK_INDEX, Namespace, with_netlink
from stageline.emulation.fleet_file import FleetLink

_numbers: Final = count()
_PREFIX_LENGTH: Final = 24
_MOST_DEVICES: Final = 250
_INSIDE: Final = "eth0"
"""What a device calls its end of the cable."""


@dataclass(frozen=True, slots=True)
class Cable:
    """A device's namespace, and both ends of its cable by their interface numbers."""

    namespace: Namespace
    hub_end: int
    device_end: int


class Network:
    """A hub's address and the cables of its devices. Needs root and a network of our own; see `network`."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._cables: dict[str, Cable] = {}
        self._bridge = with_netlink(self._make_bridge)

    @property
    def hub(self) -> str:
        """The hub's address, the same from everywhere."""
        return self._address(1)

    def attach(self, name: str) -> Namespace:
        """A namespace for this device, with a cable to the hub that is not slow yet."""
        if len(self._cables) == _MOST_DEVICES:
            raise ValueError(f"this network has addresses for {_MOST_DEVICES} devices: emulate fewer")
        namespace = Namespace()
        hub_end = with_netlink(lambda netlink: self._make_cable(netlink, namespace))
        address = self._address(2 + len(self._cables))
        self._cables[name] = Cable(namespace, hub_end, namespace.run(lambda netlink: _plug_in(netlink, address)))
        return namespace

    def set_link(self, name: str, link: FleetLink) -> bool:
        """Make a device's cable so fast and so long, now. False when its delay cannot be had here (no `netem`)."""
        cable = self._cables[name]
        down = with_netlink(lambda netlink: shape(netlink, cable.hub_end, link.down_mbps, link.delay_ms))
        up = cable.namespace.run(lambda netlink: shape(netlink, cable.device_end, link.up_mbps, link.delay_ms))
        return down and up

    def set_apart(self, name: str, link: FleetLink, ports: Sequence[int], mbps: float) -> None:
        """Make a device's cable so fast, and only `mbps` for what these ports of the device send and get. No delays."""
        cable = self._cables[name]
        with_netlink(
            lambda netlink: shape_apart(
                netlink, cable.hub_end, link.down_mbps, apart_mbps=mbps, ports=ports, end="destination"
            )
        )
        cable.namespace.run(
            lambda netlink: shape_apart(
                netlink, cable.device_end, link.up_mbps, apart_mbps=mbps, ports=ports, end="source"
            )
        )

    def add_apart(self, name: str, ports: Sequence[int]) -> None:
        """Set further ports of a device apart, after `set_apart`."""
        cable = self._cables[name]
        with_netlink(lambda netlink: add_apart(netlink, cable.hub_end, ports, "destination"))
        cable.namespace.run(lambda netlink: add_apart(netlink, cable.device_end, ports, "source"))

    def plug(self, name: str, *, plugged: bool) -> None:
        """Pull a device's plug at the hub's end, or put it back."""
        hub_end = self._cables[name].hub_end
        with_netlink(lambda netlink: netlink.link("set", index=hub_end, state="up" if plugged else "down"))

    def close(self) -> None:
        """Take everything down."""
        for cable in self._cables.values():
            _remove(cable.hub_end)
            cable.namespace.close()
        self._cables.clear()
        _remove(self._bridge)

    def _address(self, host: int) -> str:
        return f"10.{64 + self._number // 256 % 64}.{self._number % 256}.{host}"

    def _make_bridge(self, netlink: IPRoute) -> int:
        name = f"hub{self._number}"
        netlink.link("add", ifname=name, kind="bridge")
        bridge: int = netlink.link_lookup(ifname=name)[0]
        netlink.addr("add", index=bridge, address=self.hub, prefixlen=_PREFIX_LENGTH)
        netlink.link("set", index=bridge, state="up")
        return bridge

    def _make_cable(self, netlink: IPRoute, namespace: Namespace) -> int:
        name = f"hub{self._number}-{len(self._cables)}"
        netlink.link("add", ifname=name, kind="veth", peer={"ifname": _INSIDE, "net_ns_fd": namespace.fd})
        hub_end: int = netlink.link_lookup(ifname=name)[0]
        netlink.link("set", index=hub_end, master=self._bridge, state="up")
        return hub_end


@contextmanager
def network() -> Iterator[Network]:
    """A network while inside; several may be there side by side."""
    with ExitStack() as stack:
        made = Network(next(_numbers))
        stack.callback(made.close)
        yield made


def _remove(interface: int) -> None:
    with_netlink(lambda netlink: netlink.link("del", index=interface))


def _plug_in(netlink: IPRoute, address: str) -> int:
    inside: int = netlink.link_lookup(ifname=_INSIDE)[0]
    netlink.addr("add", index=inside, address=address, prefixlen=_PREFIX_LENGTH)
    for interface in (LOOPBACK_INDEX, inside):
        netlink.link("set", index=interface, state="up")
    return inside
