"""Where a pipeline peer cuts a model: equal shares of the work, or by what was measured.

`measured_split` is the best that a pipeline can do on these devices: every block's time on one core is profiled here as
Stageline's workers do it, a device of c cores takes 1/c as long, and the pipeline with the least bottleneck over every
choice and order of devices follows exactly by subset dynamic programming (`services.planner.subset_dp`). Sending is
taken to be free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

import numpy as np

from models.library import Library
from models.profiling import ProfiledBlocks, profile_blocks
from schemas.model import ModelCard
from services.planner.subset_dp import fill, trace

_PROFILE_BUDGET_S: Final = 1.0
_PROFILED: Final[dict[str, ProfiledBlocks]] = {}
"""By the card's hash: a model is profiled once per process."""


@dataclass(frozen=True)
class Part:
    """Blocks `[first, last)` on a device, by its number in the fleet."""

    device: int
    first: int
    last: int


class TooFewPlacesError(ValueError):
    """A model that cannot be cut into as many parts; use fewer devices or another model."""


def borders_of_shares(work: Sequence[float], shares: Sequence[float]) -> list[int]:
    """Positions nearest to such shares of the work, both ends included; every part keeps at least one step.

    Args:
        work: work done before each position, ascending, from 0 to all of it.
        shares: of each part, relative to one another.

    Raises:
        TooFewPlacesError: fewer steps than parts.
    """
    done = np.asarray(work, dtype=np.float64)
    last, parts = len(done) - 1, len(shares)
    if parts > last:
        raise TooFewPlacesError(f"{last - 1} places to cut make no {parts} parts: use fewer devices or another model")
    wanted = done[-1] * np.cumsum(shares) / np.sum(shares)
    borders = [0]
    for part in range(1, parts):
        nearest = int(np.abs(done - wanted[part - 1]).argmin())
        borders.append(min(max(nearest, borders[-1] + 1), last - (parts - part)))
    return [*borders, last]


def even_split(card: ModelCard, devices: int) -> tuple[Part, ...]:
    """Equal multiply-accumulates for each device, in the fleet's order."""
    work = list(accumulate((block.macs for block in card.blocks), initial=0))
    return tuple(Part(device, *span) for device, span in enumerate(pairwise(borders_of_shares(work, [1.0] * devices))))


def measured_split(card: ModelCard, library: Library, cores: Sequence[float]) -> tuple[Part, ...]:
    """The pipeline with the least bottleneck; it may leave devices out.

    Args:
        card: the model.
        library: where its graph is.
        cores: of each device.
    """
    if card.sha256 not in _PROFILED:
        _PROFILED[card.sha256] = profile_blocks(card, library.blobs, budget_s=_PROFILE_BUDGET_S)
    return best_pipeline(_PROFILED[card.sha256], cores)


def best_pipeline(profile: ProfiledBlocks, cores: Sequence[float]) -> tuple[Part, ...]:
    """The pipeline with the least bottleneck, by block times on one core. Pure."""
    done = np.array([0.0, *accumulate(profile.block_ms)])
    whole_core_ms = done[None, :] - done[:, None] + profile.stage_overhead_ms
    cost = whole_core_ms / np.asarray(cores, dtype=np.float64).reshape(-1, 1, 1)
    cost[:, np.tri(len(done), dtype=np.bool_)] = np.inf
    table = fill(cost, np.maximum)
    line = trace(table, cost, np.maximum, int(table[:, -1].argmin()))
    return tuple(Part(*placement) for placement in line)
