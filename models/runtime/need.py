"""How much memory a stage takes in the process that runs it, from its card alone.

Fitted to resident memory measured around loading and running 22 stages of 11 models in ONNX Runtime on one x86-64
thread (docs/decisions/0001): 1 % to 28 % above every one. The runtime holds each weight once: either
rearranged in its own memory, with the mapped file let go, or as the mapped file itself. Building a stage briefly takes
up to its convolutions' weights once more.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from models.exits.opened import exits_within, segments
from schemas.model import ModelCard

SESSION_BYTES: Final = 10_000_000
"""Mostly the runtime's own code, which further stages in one process share."""

NODE_BYTES: Final = 12_000
WEIGHT_FACTOR: Final = 1.05
ACTIVATION_FACTOR: Final = 1.6
"""Activations come and go in an arena that cannot be packed perfectly."""


SEGMENT_BYTES: Final = 300_000
"""Of every further session in a stage, beside its own arena: 6 % to 36 % above what two to seven took in all."""


def stage_memory_bytes(card: ModelCard, first: int, last: int, exits: Collection[str] = ()) -> int:
    """Need of blocks `[first, last)` once loaded, bytes: sessions, graph, weights and peak activations.

    Args:
        card: the model.
        first: block.
        last: block.
        exits: those that are open, anywhere in the model: each in the stage divides it into two sessions. The heads of
            closed ones are counted, though not loaded: they are small, and any of them may be opened.

    Raises:
        ValueError: no such blocks.
        models.exits.declared.ExitError: the model has no such exit.
    """
    if not 0 <= first < last <= len(card.blocks):
        raise ValueError(f"{card.name} has blocks 0 to {len(card.blocks)}; there is no stage [{first}:{last})")
    if not exits:
        return SESSION_BYTES + _beyond_session(card, first, last)
    parts = segments(first, last, exits_within(card, first, last, exits))
    needs = sum(_beyond_session(card, one.first, one.last) for one in parts)
    return SESSION_BYTES + SEGMENT_BYTES * (len(parts) - 1) + needs


def _beyond_session(card: ModelCard, first: int, last: int) -> int:
    blocks = card.blocks[first:last]
    nodes = blocks[-1].last_node - blocks[0].first_node
    weights = sum(block.weight_bytes for block in blocks)
    peak = max(block.peak_activation_bytes for block in blocks)
    # A card may say anything of its blocks, but what a stage takes and gives is here at once, arena or not.
    ends = card.cuts[first].nbytes + card.cuts[last].nbytes
    activations = max(round(ACTIVATION_FACTOR * peak), ends)
    return NODE_BYTES * nodes + round(WEIGHT_FACTOR * weights) + activations
