"""Some connections of a link are slower than the others, until the link is set anew."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from bench.testbed.apart import tcp_ports
from bench.testbed.namespace import why_no_network

pytestmark = pytest.mark.timeout(60)

MEASURE = """
import json
from bench.testbed.namespace import enter_private_network
from bench.testbed.network import network
from stageline.emulation.fleet_file import FleetLink
from tests.bench.testbed.link_rates import rates

NBYTES = 1 << 18

assert enter_private_network()
with network() as links:
    inside, link = links.attach("pi").entering(), FleetLink(up_mbps=80, down_mbps=80)
    links.set_link("pi", link)
    links.set_apart("pi", link, (45001, 45002), 8)
    result = {"apart": rates(links.hub, inside, NBYTES, 45001), "other": rates(links.hub, inside, NBYTES, 45003)}
    links.set_link("pi", link)
    result["again"] = rates(links.hub, inside, NBYTES, 45002)
print(json.dumps(result), flush=True)
"""


def test_a_process_has_the_ports_of_its_open_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as line:
        ours = line.getsockname()[1]
        assert ours in tcp_ports(os.getpid())
        assert server.getsockname()[1] not in tcp_ports(os.getpid())  # Nobody has answered there.
    assert ours not in tcp_ports(os.getpid())


def test_ports_that_are_set_apart_are_slow_each_way_and_others_are_not(started: Callable[..., Any]) -> None:
    if (why := why_no_network()) is not None:
        assert "root" in why or "Linux" in why or "util-linux" in why
        return
    with started(MEASURE) as (_, measured):
        pass
    # A factor of ten apart: whoever is kept waiting meanwhile does not make one look like the other.
    assert all(4 < rate < 16 for rate in measured["apart"])
    for which in ("other", "again"):
        assert all(rate > 20 for rate in measured[which])
