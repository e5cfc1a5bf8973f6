"""AMP4EC's partitioner (arXiv 2504.00407): walk the layers, cut when the running sum of their costs reaches a target.

Nothing is searched for: what overshoots a target overshoots it, links are not looked at, and a layer's cost knows
neither groups nor spatial size (`models.layer_cost`). On MobileNetV2 two "equal" parts hold 78 % and 22 % of the real
multiply-accumulates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

CORES_SHARE: Final = 0.6
MEMORY_SHARE: Final = 0.4


def even_targets(total: float, parts: int) -> tuple[float, ...]:
    """Plain targets [C]: `total / parts` each."""
    return (total / parts,) * parts


def capability_targets(total: float, cores: Sequence[float], memory_bytes: Sequence[float]) -> tuple[float, ...]:
    """Capability-aware targets [P]: `P_i * total` with `P_i = S_i / sum S` and `S_i = 0.6 c_i/c_max + 0.4 m_i/m_max`.

    Args:
        total: cost of all layers.
        cores: c_i of every node, above 0.
        memory_bytes: m_i of every node, above 0.
    """
    most_cores, most_memory = max(cores), max(memory_bytes)
    capability = [
        CORES_SHARE * c / most_cores + MEMORY_SHARE * m / most_memory for c, m in zip(cores, memory_bytes, strict=True)
    ]
    return tuple(total * one / sum(capability) for one in capability)


def walk(costs: Sequence[float], targets: Sequence[float]) -> tuple[tuple[int, int], ...]:
    """Contiguous parts `[first, last)` that cover all layers [C].

    The layer with which the running sum reaches its part's target still belongs to the part; the sum starts at 0
    after every cut; the last part takes the rest. There are fewer parts than targets when the layers run out first.

    Args:
        costs: of every layer, at least one, in the order they run.
        targets: of every part, at least one.
    """
    borders, running = [0], 0.0
    for layer, cost in enumerate(costs, 1):
        running += cost
        if len(borders) < len(targets) and layer < len(costs) and running >= targets[len(borders) - 1]:
            borders.append(layer)
            running = 0.0
    return tuple(zip(borders, (*borders[1:], len(costs)), strict=True))
