"""What the learner is asked and paid for: many instances of one problem at once. Pure, numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.study.problem import Floats, Problem, Splits, costs

LEAST_MBPS, MOST_MBPS = 1.0, 50.0
LEAST_W, MOST_W = 0.05, 0.95
DEAREST: Final = 10.0
"""No decision is punished by more than so many references: some cost thousands, and would drown all others."""


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """Bandwidth and weight of many questions; arrays of [instances]."""

    bandwidth_mbps: Floats
    w: Floats

    def __len__(self) -> int:
        return len(self.w)

    @property
    def scaled(self) -> Floats:
        """Both within -1..1 where training draws them, the bandwidth by its logarithm; [instances, 2]."""
        low, high = np.log(LEAST_MBPS), np.log(MOST_MBPS)
        bandwidth = 2 * (np.log(self.bandwidth_mbps) - low) / (high - low) - 1
        return np.stack([bandwidth, 2 * (self.w - LEAST_W) / (MOST_W - LEAST_W) - 1], axis=1)


def draw(rng: np.random.Generator, count: int) -> Instances:
    """Questions to train on: bandwidths even in their logarithm, weights even."""
    bandwidth = np.exp(rng.uniform(np.log(LEAST_MBPS), np.log(MOST_MBPS), count))
    return Instances(bandwidth, rng.uniform(LEAST_W, MOST_W, count))


def weighted(problem: Problem, asked: Instances, splits: Splits, shares: Floats) -> Floats:
    """The cost of each decision, all devices together; [instances]."""
    seconds, joules = costs(problem, asked.bandwidth_mbps, splits, shares)
    latency = np.stack(seconds).sum(axis=(0, 2))
    whole: Floats = asked.w * latency + (1 - asked.w) * joules.sum(axis=1)
    return whole


def reference(problem: Problem, asked: Instances) -> Floats:
    """What each question costs with even shares and each device's best split for them; [instances].

    It makes rewards of cheap and dear questions alike. It is a baseline's cost, not the best: the learner is told
    nothing of what it should find.
    """
    bandwidth, w = asked.bandwidth_mbps[:, None, None], asked.w[:, None, None]
    sending = problem.sent_mbit / bandwidth
    at_edge = problem.edge_gflop * problem.devices / problem.edge_gflops
    energy = problem.power_w[:, None] * problem.local_s + problem.transmit_w[:, None] * sending
    found: Floats = (w * (problem.local_s + sending + at_edge) + (1 - w) * energy).min(axis=2).sum(axis=1)
    return found


def rewards(problem: Problem, asked: Instances, splits: Splits, shares: Floats) -> Floats:
    """Minus the cost, in references; [instances], from -DEAREST to 0."""
    cost = weighted(problem, asked, splits, shares) / reference(problem, asked)
    paid: Floats = -np.minimum(cost, DEAREST)
    return paid
