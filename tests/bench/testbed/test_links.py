"""Links are as slow as stated, in each direction, and can be changed or cut while in use."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
from pyroute2 import NetlinkError

from bench.testbed.links import shape, token_bucket
from bench.testbed.namespace import why_no_network

pytestmark = pytest.mark.timeout(60)

MEASURE = """
import json, socket, statistics, subprocess, sys
from bench.testbed.namespace import enter_private_network, in_private_network
from bench.testbed.network import network
from stageline.emulation.fleet_file import FleetLink
from tests.bench.testbed.link_rates import rates

def usual(links, namespace, nbytes):
    each = [rates(links.hub, namespace.entering(), nbytes) for _ in range(3)]
    return [statistics.median(one) for one in zip(*each)]

def reached(links, namespace):
    with socket.create_server((links.hub, 0)) as server:
        port = str(server.getsockname()[1])
        program = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=0.3)"
        command = [*namespace.entering(), sys.executable, "-c", program, links.hub, port]
        return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0

assert enter_private_network() and in_private_network()
with network() as links, network() as others:
    namespace = links.attach("pi")
    others.attach("pi")
    result = {"open": usual(links, namespace, 1 << 22)}
    links.set_link("pi", FleetLink(up_mbps=40, down_mbps=10))
    result["shaped"] = usual(links, namespace, 1 << 19)
    links.set_link("pi", FleetLink(up_mbps=10, down_mbps=40))
    result["changed"] = usual(links, namespace, 1 << 19)
    result["whole"] = reached(links, namespace)
    links.plug("pi", plugged=False)
    result["cut"] = reached(links, namespace)
    links.plug("pi", plugged=True)
    result["mended"] = any(reached(links, namespace) for _ in range(30))
print(json.dumps(result), flush=True)
"""


def test_a_bucket_lets_two_milliseconds_pass_at_once_and_no_less_than_two_packets() -> None:
    gigabit, slow = token_bucket(1000), token_bucket(5)
    assert (gigabit.rate_bytes, gigabit.burst_bytes, gigabit.queue_bytes) == (125_000_000, 250_000, 12_500_000)
    assert (slow.rate_bytes, slow.burst_bytes, slow.queue_bytes) == (625_000, 3200, 1 << 18)


class FakeNetlink:
    """A kernel's traffic control, that has netem or not."""

    def __init__(self, *, netem: bool) -> None:
        self.netem = netem
        self.made: list[tuple[str, dict[str, Any]]] = []

    def tc(self, _command: str, kind: str, _interface: int, **settings: Any) -> None:
        if kind == "netem" and not self.netem:
            raise NetlinkError(errno.ENOENT, "No such file or directory")
        self.made.append((kind, settings))


def test_a_delay_goes_around_the_bucket_where_the_kernel_has_netem_and_is_reported_missing_elsewhere() -> None:
    able, unable, near = FakeNetlink(netem=True), FakeNetlink(netem=False), FakeNetlink(netem=False)
    assert shape(able, 7, 5, 10.0)
    (emulator, delay), (bucket, inside) = able.made
    assert (emulator, delay["handle"], delay["delay"]) == ("netem", "2:", 10_000)
    assert (bucket, inside["parent"], inside["rate"]) == ("tbf", "2:1", 625_000)
    assert not shape(unable, 7, 5, 10.0)
    assert shape(near, 7, 5, 0.0)
    assert [kind for kind, _ in unable.made] == [kind for kind, _ in near.made] == ["tbf"]


def test_bytes_pass_at_the_stated_rate_each_way_and_stop_when_the_cable_is_out(started: Callable[..., Any]) -> None:
    if (why := why_no_network()) is not None:
        assert "root" in why or "Linux" in why or "util-linux" in why
        return
    with started(MEASURE) as (_, measured):
        pass
    # A program that is kept waiting sees a link slower than it is, or faster: what came meanwhile was waiting for it.
    assert min(measured["open"]) > 80
    for which, up_mbps, down_mbps in (("shaped", 40, 10), ("changed", 10, 40)):
        up, down = measured[which]
        assert 0.5 * up_mbps < up < 2 * up_mbps
        assert 0.5 * down_mbps < down < 2 * down_mbps
    assert (measured["whole"], measured["cut"], measured["mended"]) == (True, False, True)
