"""Exits at equal distances of computing: SPINN's setting (Laskaridis et al., MobiCom 2020)."""

from __future__ import annotations

from itertools import accumulate
from typing import Final

from models.exits.setting.layers import Layers

SPINN_SHARE: Final = 0.15


def interval_exits(layers: Layers, share: float = SPINN_SHARE) -> tuple[int, ...]:
    """An exit wherever another `share` of the layers' FLOPs is done: behind the first layer that reaches it.

    Args:
        layers: the network.
        share: distance between exits, of the whole; in (0, 1].

    Raises:
        ValueError: the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"a distance of {share} between exits: it must be above 0 and at most 1 (SPINN has 0.15)")
    whole = sum(layers.flops)
    if not whole:
        return ()
    found: list[int] = []
    passed = 0
    for place, done in enumerate(accumulate(layers.flops)):
        reached = int(done / whole / share + 1e-9)  # 3 x 0.15 of the whole is 0.45, whatever the last bit says
        if reached > passed and place < layers.last:
            found.append(place)
        passed = max(passed, reached)
    return tuple(found)
