"""Spans of blocks that fit in memory: the whole in few parts, and many spans in few groups."""

from __future__ import annotations

from collections.abc import Sequence

from models.block_costs import Span
from models.runtime import stage_memory_bytes
from models.runtime.need import SESSION_BYTES
from schemas.model import ModelCard


def parts_that_fit(card: ModelCard, memory_bytes: int) -> list[Span]:
    """The whole as few spans in a row, each as long as memory allows, and at least one block."""
    parts: list[Span] = []
    first = 0
    while first < len(card.blocks):
        last = first + 1
        while last < len(card.blocks) and stage_memory_bytes(card, first, last + 1) <= memory_bytes:
            last += 1
        parts.append((first, last))
        first = last
    return parts


def groups_that_fit(card: ModelCard, spans: Sequence[Span], memory_bytes: int) -> list[list[Span]]:
    """Spans in order, in groups that fit in memory together, and at least one at a time."""
    groups: list[list[Span]] = [[]]
    need = SESSION_BYTES
    for first, last in spans:
        # One process pays for the runtime itself once, however many sessions it has.
        more = stage_memory_bytes(card, first, last) - SESSION_BYTES
        if groups[-1] and need + more > memory_bytes:
            groups.append([])
            need = SESSION_BYTES
        groups[-1].append((first, last))
        need += more
    return groups
