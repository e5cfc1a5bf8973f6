"""A link that carries some connections more slowly than others: what a probe over another connection cannot see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from pyroute2 import IPRoute
from pyroute2.protocols import ETH_P_IP

from bench.testbed.links import token_bucket

_ROOT: Final = 0x40000
"""4:, which no plain link uses, so that each can take the other's place."""
_ALL: Final = 0x10
_APART: Final = 0x20
_LEAVES: Final = {_ALL: 0x50000, _APART: 0x60000}
_UNLIMITED: Final = 4_000_000_000
"""Bytes per second: it is the buckets below that limit."""
_LOCAL, _STATE, _INODE = 1, 3, 9
"""Columns of the kernel's tables of connections."""
_ESTABLISHED: Final = "01"
_PORTS_AT: Final = 20
"""Bytes from the beginning of a packet to its TCP ports, source first; no packet here has IP options."""


def tcp_ports(pid: int) -> tuple[int, ...]:
    """Local ports of the TCP connections that a process has open, in whatever network it is."""
    ours = {_target(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    found = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = row.split()
            if fields[_STATE] == _ESTABLISHED and f"socket:[{fields[_INODE]}]" in ours:
                found.add(int(fields[_LOCAL].rpartition(":")[2], 16))
    return tuple(sorted(found))


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""  # Closed since it was listed.


def shape_apart(
    netlink: IPRoute,
    interface: int,
    mbps: float,
    *,
    apart_mbps: float,
    ports: Sequence[int],
    end: Literal["source", "destination"],
) -> None:
    """Make one direction `mbps` slow, and `apart_mbps` for these TCP ports, all of them together.

    Args:
        netlink: of the interface's network.
        interface: what leaves by it is shaped.
        mbps: for everything else.
        apart_mbps: for the ports.
        ports: of the connections that are set apart.
        end: which end of a packet has them.
    """
    netlink.tc("replace", "htb", interface, handle=_ROOT, default=_ALL)
    for number, rate in ((_ALL, mbps), (_APART, apart_mbps)):
        netlink.tc("add-class", "htb", interface, handle=_ROOT | number, parent=_ROOT, rate=_UNLIMITED)
        bucket = token_bucket(rate)
        netlink.tc(
            "add", "tbf", interface, handle=_LEAVES[number], parent=_ROOT | number,
            rate=bucket.rate_bytes, burst=bucket.burst_bytes, limit=bucket.queue_bytes,
        )  # fmt: skip
    add_apart(netlink, interface, ports, end)


def add_apart(netlink: IPRoute, interface: int, ports: Sequence[int], end: Literal["source", "destination"]) -> None:
    """Set further ports apart, in a direction that `shape_apart` has shaped."""
    for port in ports:
        key = f"0x{port:04x}0000/0xffff0000+{_PORTS_AT}" if end == "source" else f"0x{port:08x}/0x0000ffff+{_PORTS_AT}"
        netlink.tc(
            "add-filter", "u32", interface, parent=_ROOT, prio=1, protocol=ETH_P_IP, target=_ROOT | _APART, keys=[key]
        )
