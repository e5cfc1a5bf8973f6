"""Which cut points are worth planning with, and how many bytes cross them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.deployment import Deployment
from schemas.model import Cut, ModelCard
from schemas.plan import CodecName
from schemas.tensors import ITEM_BYTES

POSITIONS_MAX: Final = 64
"""Cut positions (both ends included) that a plan is made from; more are thinned."""
STAGES_MAX: Final = 1 << 20
"""Possible stages of all devices together. In large fleets cuts are thinned further, for time and memory (8 MB for
each array of a problem): what is lost by that is won back by choosing which devices work together."""
POSITIONS_MIN: Final = 16
"""As many cut positions are kept in a fleet of any size."""
NEAR_SHARE: Final = 0.005
"""Cuts closer than this share of the model's work are alternatives to one another."""

_CODED_ITEM_BYTES: Final = {"fp32": None, "fp16": 2, "u8": 1}


def wire_bytes(cut: Cut, codec: CodecName) -> int:
    """Bytes that cross a cut under a codec: what is known before any tensor is seen.

    fp16 and u8 shrink floats only; the few scales of u8 are not counted. zstd is taken to save nothing, because
    its ratio depends on the picture: a plan with zstd is never promised more than it will do.
    """
    item = _CODED_ITEM_BYTES[codec.partition("+")[0]]
    return sum(
        math.prod(tensor.shape)
        * (item if item and tensor.dtype in ("float32", "float64") else ITEM_BYTES[tensor.dtype])
        for tensor in cut.tensors
    )


def thin(
    card: ModelCard, deployment: Deployment, block_ms: Sequence[Sequence[float]], keep: Iterable[int] = ()
) -> NDArray[np.intp]:
    """The cut positions to plan with, ascending; both ends, all pins' borders and `keep` included.

    All of them up to POSITIONS_MAX, fewer in a large fleet. Beyond, a cut goes when another one nearby carries no
    more bytes and less than NEAR_SHARE of the model's work (on any device) or weights lies between: little is lost
    by cutting there instead. If that leaves too many, "nearby" widens until they fit.

    Args:
        card: the model; N blocks.
        deployment: its codec decides bytes, its pins which borders stay.
        block_ms: per device, N block times.
        keep: positions that must be among them, e.g. those of a plan that is to be compared.
    """
    blocks = len(card.blocks)
    most = min(POSITIONS_MAX, max(POSITIONS_MIN, math.isqrt(STAGES_MAX // max(1, len(block_ms)))))
    if blocks + 1 <= most:
        return np.arange(blocks + 1, dtype=np.intp)
    pinned = {border for pin in deployment.pins for border in (pin.first, pin.last)}
    kept = {0, blocks} | pinned | {position for position in keep if 0 < position < blocks}
    far = _distance(card, block_ms)
    size = {position: wire_bytes(card.cuts[position], deployment.codec) for position in range(1, blocks)}
    near = NEAR_SHARE
    while True:
        chosen: list[int] = []
        for position in sorted(size, key=lambda p: (size[p], p)):
            if all(abs(far[position] - far[other]) >= near for other in chosen):
                chosen.append(position)
        if len(kept | set(chosen)) <= max(most, len(kept)):
            return np.array(sorted(kept | set(chosen)), dtype=np.intp)
        near *= 1.5


def _distance(card: ModelCard, block_ms: Iterable[Sequence[float]]) -> list[float]:
    """Place of every cut on a line where block b is as long as its largest share of work or of weights."""
    shares = [np.array([block.macs for block in card.blocks], dtype=np.float64)]
    shares.append(np.array([block.weight_bytes for block in card.blocks], dtype=np.float64))
    shares.extend(np.array(times, dtype=np.float64) for times in block_ms)
    length = np.max([share / max(share.sum(), 1e-12) for share in shares], axis=0)
    return [0.0, *np.cumsum(length).tolist()]
