"""Memory limits that force a model over a given number of devices, from the need of every stage."""

from __future__ import annotations

from models.runtime import stage_memory_bytes
from schemas.model import ModelCard


def least_budget_bytes(card: ModelCard, stages: int) -> int:
    """The smallest equal budget per device with which `card` fits on that many devices.

    Dynamic programming over cut points: `best[k][j] = min_i max(best[k-1][i], need(i, j))`.
    """
    blocks = len(card.blocks)
    best = [0] + [stage_memory_bytes(card, 0, last) for last in range(1, blocks + 1)]
    for _ in range(stages - 1):
        best = [0] + [
            min(max(best[cut], stage_memory_bytes(card, cut, last)) for cut in range(last))
            for last in range(1, blocks + 1)
        ]
    return best[blocks]


def forcing_budget_bytes(card: ModelCard, stages: int) -> int:
    """An equal budget with which `stages` devices are enough and one fewer is not: half way between the two."""
    enough = least_budget_bytes(card, stages)
    fewer = least_budget_bytes(card, stages - 1)
    return (enough + fewer) // 2
