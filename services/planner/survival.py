"""How much of a model runs for one request on average, when some leave early.

Survival `mu_b` is the share of all requests that run block b: one less those that left at an exit before it. The cost
model's times, bytes and joules of a block, and of the cut before it, count that share of a request (Joint partition and
resource allocation for multi-exit DNNs, Electronics 2025, 14, 1647: `mu_j = 1 - sum of e_k over exits k before j`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.model import ModelCard
from schemas.plan import ExitRule

Floats = NDArray[np.float64]

SURVIVAL_MIN: Final = 0.01
"""However many leave, some may not: no block is ever planned as if it cost nothing."""


@dataclass(frozen=True, eq=False)
class Survival:
    """Of a model of N blocks under some exits."""

    crossing: Floats
    """(N+1,) share of all requests that cross the cut before each block; 1 at the first. The last of them are those
    that reach the end."""
    work: Floats
    """(N,) how many times its measured time a block takes per request: the share that runs it, and its open head on
    top. Profiles are measured with all exits closed."""


def survival(card: ModelCard, exits: Sequence[ExitRule]) -> Survival:
    """Survival under these open exits. Pure.

    Args:
        card: the model; says what heads compute.
        exits: open, in order, each with the share of all requests that leaves there.
    """
    blocks = len(card.blocks)
    leaving = np.zeros(blocks + 1)
    for rule in exits:
        leaving[rule.block + 1] += rule.share
    crossing = np.maximum(1.0 - np.cumsum(leaving), SURVIVAL_MIN) if exits else np.ones(blocks + 1)
    return Survival(crossing, crossing[:-1] * _with_heads(card, {rule.name for rule in exits}))


def _with_heads(card: ModelCard, open_: set[str]) -> Floats:
    """(N,) what each block computes, relative to its backbone alone."""
    factor = np.ones(len(card.blocks))
    for one in card.exits:
        if one.name in open_:
            backbone = card.blocks[one.block].macs - one.macs
            factor[one.block] += one.macs / backbone if backbone > 0 else 0.0
    return factor
