"""The paper's model: what a decision costs each device in latency and energy (section 3 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.study.devices import Device
from bench.study.exits import remaining
from bench.study.network import Network

Floats = NDArray[np.float64]
Splits = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Point:
    """Where the model is asked: one bandwidth for each device's own link, one weight."""

    bandwidth_mbps: float
    w: float
    """Of latency in seconds; energy in joules has 1 - w."""

    def __post_init__(self) -> None:
        if not self.bandwidth_mbps > 0 or not 0 <= self.w <= 1:
            raise ValueError(f"no such point: {self.bandwidth_mbps} Mbit/s must be above 0, and w {self.w} within 0..1")


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Devices that share one edge server, each with its exits set: all that costs depend on, by device and split.

    Arrays are of shape [devices, splits]: from split 0, all at the edge server, to the last, all on the device.
    """

    power_w: Floats
    """[devices]."""
    transmit_w: Floats
    """[devices]."""
    local_s: Floats
    """Expected seconds on the device."""
    sent_mbit: Floats
    """Expected megabits sent: of those who are still there."""
    edge_gflop: Floats
    """Expected work left to the edge server."""
    edge_gflops: float

    @property
    def devices(self) -> int:
        """How many."""
        return int(self.local_s.shape[0])

    @property
    def splits(self) -> int:
        """How many there are to choose from, both ends included."""
        return int(self.local_s.shape[1])


@dataclass(frozen=True, slots=True)
class Decision:
    """What one method does at one point, and what it costs: sums over all devices."""

    splits: tuple[int, ...]
    shares: tuple[float, ...]
    latency_s: float
    energy_j: float
    cost: float


def build(network: Network, devices: Sequence[Device], exits: Sequence[tuple[int, ...]], edge_gflops: float) -> Problem:
    """The problem of these devices with these exits.

    Args:
        network: the same for all.
        devices: who shares the edge server.
        exits: for each device its open early exits, from 0.
        edge_gflops: of the whole edge server.
    """
    splits = len(network.layers) + 1
    local, sent, edge = (np.zeros((len(devices), splits)) for _ in range(3))
    for number, (device, is_open) in enumerate(zip(devices, exits, strict=True)):
        runs = np.array(remaining(network.layers, device, is_open))
        heads = np.array(network.layers.exit_flops)
        closed = [place for place in range(network.layers.last) if place not in is_open]
        heads[closed] = 0.0
        work = np.concatenate([[0.0], np.cumsum(runs[:-1] * (np.array(network.layers.flops) + heads))])
        local[number] = work / device.gflops
        edge[number] = work[-1] - work
        sent[number] = runs * np.array(network.split_bytes) * 8 / 1e6
    edge[:, -1] = 0.0
    return Problem(
        np.array([device.power_w for device in devices]), np.array([device.transmit_w for device in devices]),
        local, sent, edge, edge_gflops,
    )  # fmt: skip


def costs(
    problem: Problem, bandwidth_mbps: Floats, splits: Splits, shares: Floats
) -> tuple[tuple[Floats, Floats, Floats], Floats]:
    """Many decisions at once.

    Args:
        problem: whose.
        bandwidth_mbps: of each decision; [decisions].
        splits: [decisions, devices].
        shares: of the edge server; [decisions, devices]. What is left to a server without a share takes forever.

    Returns:
        Seconds on the device, on the way and at the edge server, and joules; each of shape [decisions, devices].
    """
    device = np.arange(problem.devices)
    local = problem.local_s[device, splits]
    sending = problem.sent_mbit[device, splits] / bandwidth_mbps[:, None]
    work = problem.edge_gflop[device, splits]
    with np.errstate(divide="ignore"):
        at_edge = np.where(work > 0, work / np.where(work > 0, shares * problem.edge_gflops, 1.0), 0.0)
    return (local, sending, at_edge), problem.power_w * local + problem.transmit_w * sending


def decide(problem: Problem, point: Point, splits: Sequence[int], shares: Sequence[float]) -> Decision:
    """A decision with what it costs.

    Raises:
        ValueError: it is not one of this problem's: splits out of range, or shares below 0 or above 1 together.
    """
    if len(splits) != problem.devices or not all(0 <= split < problem.splits for split in splits):
        raise ValueError(
            f"splits {tuple(splits)}: give each of {problem.devices} devices one in 0..{problem.splits - 1}"
        )
    if len(shares) != problem.devices or min(shares) < 0 or sum(shares) > 1 + 1e-9:
        raise ValueError(f"shares {tuple(shares)}: give each of {problem.devices} devices one, together at most 1")
    at = np.array([point.bandwidth_mbps])
    seconds, joules = costs(problem, at, np.array([splits]), np.array([shares]))
    latency_s, energy_j = float(sum(part.sum() for part in seconds)), float(joules.sum())
    cost = point.w * latency_s + (1 - point.w) * energy_j
    return Decision(tuple(map(int, splits)), tuple(map(float, shares)), latency_s, energy_j, cost)


def own_costs(problem: Problem, point: Point) -> Floats:
    """What each split costs its device without the edge server's time; [devices, splits]."""
    sending = problem.sent_mbit / point.bandwidth_mbps
    energy = problem.power_w[:, None] * problem.local_s + problem.transmit_w[:, None] * sending
    whole: Floats = point.w * (problem.local_s + sending) + (1 - point.w) * energy
    return whole
