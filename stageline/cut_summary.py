"""A few cut points that stand for all: the cheapest of each share of the work."""

from __future__ import annotations

from schemas.model import ModelCard


def spread_cuts(card: ModelCard, count: int) -> list[int]:
    """Up to `count` cut positions: the one with the fewest bytes in each equal share of the model's work."""
    best: dict[int, int] = {}
    done = 0
    for position in range(1, len(card.blocks)):
        done += card.blocks[position - 1].macs
        share = min(count - 1, done * count // max(1, card.macs))
        if share not in best or card.cuts[position].nbytes < card.cuts[best[share]].nbytes:
            best[share] = position
    return sorted(best.values())
