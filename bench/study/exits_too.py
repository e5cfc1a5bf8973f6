"""Beyond the paper: the best decision where exits are chosen with splits and shares, not before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from bench.study.devices import Device
from bench.study.exact import merge
from bench.study.network import Network
from bench.study.problem import Floats, Point


@dataclass(frozen=True, slots=True, eq=False)
class AllWays:
    """Every setting of one device's exits with every split; arrays of one length."""

    power_w: float
    transmit_w: float
    local_s: Floats
    sent_mbit: Floats
    edge_gflop: Floats


def all_ways(network: Network, device: Device) -> AllWays:
    """All of a device's 2^(layers-1) settings and its splits."""
    layers, last = network.layers, network.layers.last
    able = list(accumulate(device.leaves))
    is_open = (np.arange(2**last)[:, None] >> np.arange(last)) & 1
    runs, work = np.ones((2**last, last + 2)), np.zeros((2**last, last + 2))
    for place in range(last + 1):
        heads = layers.exit_flops[place] * (is_open[:, place] if place < last else 1)
        work[:, place + 1] = work[:, place] + runs[:, place] * (layers.flops[place] + heads)
        if place < last:
            runs[:, place + 1] = np.where(is_open[:, place] == 1, 1 - able[place], runs[:, place])
    runs[:, -1] = 0.0
    edge = work[:, -1:] - work
    sent = runs * np.array(network.split_bytes) * 8 / 1e6
    return AllWays(device.power_w, device.transmit_w, (work / device.gflops).ravel(), sent.ravel(), edge.ravel())


def least_cost(ways: Sequence[AllWays], edge_gflops: float, point: Point) -> float:
    """The least cost of all exits, splits and shares."""
    own = []
    for one in ways:
        sending = one.sent_mbit / point.bandwidth_mbps
        energy = one.power_w * one.local_s + one.transmit_w * sending
        own.append(point.w * (one.local_s + sending) + (1 - point.w) * energy)
    roots = [np.sqrt(one.edge_gflop) for one in ways]
    chosen = merge(own, roots, point.w / edge_gflops)
    spent = sum(float(mine[choice]) for mine, choice in zip(own, chosen, strict=True))
    rooted = sum(float(mine[choice]) for mine, choice in zip(roots, chosen, strict=True))
    return spent + point.w / edge_gflops * rooted**2
