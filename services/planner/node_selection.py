"""Which node gets the next task: AMP4EC's node selection (NSA) and CarbonEdge's, as formulas. Pure.

AMP4EC (arXiv 2504.00407) [C]: skip a node whose load is above 0.8, whose latency is over a limit, or that has too few
resources for the task; of the others take the one with the highest
`0.2 S_R + 0.2 S_L + 0.1 S_P + 0.5 S_B`, where

    S_R  (cores free / asked + memory free / asked) / 2      not bounded: much spare memory outweighs all the rest
    S_L  1 - load
    S_P  1 / (1 + average execution time)
    S_B  1 / (1 + 2 * tasks held)

CarbonEdge (arXiv 2603.27420) [P] adds `S_C = 1 / (1 + I * E)`, with the carbon intensity I of the node's electricity
and the estimated energy `E = P * T / 3.6e6` of a task, and three sets of weights. In g/kWh, watts and seconds [R] one
inference emits far less than a gram, so S_C is nearly 1 on every node and hardly tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

LOAD_MAX: Final = 0.8
LATENCY_MAX_MS: Final = 100.0
"""[R]: that there is a limit is in the authors' code, its value is a setting."""
CARBON_G_PER_KWH: Final = 475.0
"""[R] World average of electricity in 2018 (IEA, Global Energy & CO2 Status Report 2019), where nothing is known."""
_JOULES_PER_KWH: Final = 3.6e6


class Weights(NamedTuple):
    """How much each term counts: resources, load, performance, balance, carbon."""

    resources: float
    load: float
    performance: float
    balance: float
    carbon: float = 0.0


AMP4EC: Final = Weights(0.2, 0.2, 0.1, 0.5)
CARBON_PERFORMANCE: Final = Weights(0.25, 0.25, 0.30, 0.15, 0.05)
CARBON_BALANCED: Final = Weights(0.20, 0.20, 0.15, 0.15, 0.30)
CARBON_GREEN: Final = Weights(0.15, 0.15, 0.10, 0.10, 0.50)


@dataclass(frozen=True)
class Task:
    """What a node must have free to be given this task; both above 0."""

    cores: float
    memory_bytes: float


@dataclass(frozen=True)
class Node:
    """One node, as the scores see it."""

    name: str
    cores: float
    """Free now."""
    memory_bytes: float
    """Free now."""
    load: float
    """Busy share, 0..1."""
    latency_ms: float
    """Of its link."""
    average_s: float
    """Average execution time of its tasks."""
    busy_w: float
    tasks: int = 0
    """Held already."""
    carbon_g_per_kwh: float = CARBON_G_PER_KWH

    def holding(self, task: Task) -> Node:
        """The same node with one more task that takes what it asks for."""
        return replace(
            self,
            cores=max(0.0, self.cores - task.cores),
            memory_bytes=max(0.0, self.memory_bytes - task.memory_bytes),
            tasks=self.tasks + 1,
        )


def skipped(node: Node, task: Task) -> str:
    """Why a node is passed over for a task; empty when it is not."""
    if node.load > LOAD_MAX:
        return f"{node.name} is {node.load:.0%} busy, more than {LOAD_MAX:.0%}"
    if node.latency_ms > LATENCY_MAX_MS:
        return f"{node.name} is {node.latency_ms:.0f} ms away, more than {LATENCY_MAX_MS:.0f} ms"
    if node.cores < task.cores:
        return f"{node.name} has {node.cores:.2f} of {task.cores:.2f} cores free"
    if node.memory_bytes < task.memory_bytes:
        return f"{node.name} has {node.memory_bytes / 1e6:.1f} of {task.memory_bytes / 1e6:.1f} MB free"
    return ""


def score(node: Node, task: Task, weights: Weights) -> float:
    """How well a node suits a task; higher is better."""
    resources = (node.cores / task.cores + node.memory_bytes / task.memory_bytes) / 2
    energy_kwh = node.busy_w * node.average_s / _JOULES_PER_KWH
    return (
        weights.resources * resources
        + weights.load * (1 - node.load)
        + weights.performance / (1 + node.average_s)
        + weights.balance / (1 + 2 * node.tasks)
        + weights.carbon / (1 + node.carbon_g_per_kwh * energy_kwh)
    )


def select(nodes: Mapping[int, Node], task: Task, weights: Weights) -> int | None:
    """The key of the node for a task, of equally good ones the first; None when every node is skipped."""
    able = [key for key, node in nodes.items() if not skipped(node, task)]
    return max(able, key=lambda key: score(nodes[key], task, weights), default=None)
