"""How much memory a stage takes in the process that runs it."""

from __future__ import annotations

from typing import Final

from schemas.model import ModelCard

SESSION_BYTES: Final = 12_000_000
PER_NODE_BYTES: Final = 30_000
WEIGHT_FACTOR: Final = 1.6
ACTIVATION_FACTOR: Final = 2.0


def stage_memory_bytes(card: ModelCard, first: int, last: int) -> int:
    """Need of blocks `[first, last)`: weights as the runtime holds them, peak activations, and the session itself.

    Raises:
        ValueError: no such blocks.
    """
    if not 0 <= first < last <= len(card.blocks):
        raise ValueError(f"{card.name} has blocks 0 to {len(card.blocks)}; there is no stage [{first}:{last})")
    blocks = card.blocks[first:last]
    nodes = blocks[-1].last_node - blocks[0].first_node
    weights = sum(block.weight_bytes for block in blocks)
    peak = max(block.peak_activation_bytes for block in blocks)
    return SESSION_BYTES + PER_NODE_BYTES * nodes + round(WEIGHT_FACTOR * weights + ACTIVATION_FACTOR * peak)
