"""What is known of one model's rows: where bands may end, and how much of every block a band computes."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from models.rows.chain import RowChain
from models.rows.cost import band_fractions
from models.rows.legal import RowsPossible, deepest
from models.rows.needed import rows_needed
from schemas.model import ModelCard
from services.planner.quota import Floats

_SIZES: Final = 16
"""Bands of so many sizes are worked out, and those between are read off: their halo is always the same."""


class BandTable(NamedTuple):
    """Bands of 0, 1, 2 ... all rows, from the middle of the picture, where the halo is on both sides."""

    takes: Floats
    """(height + 1,) rows of the input."""
    shares: Floats
    """(height + 1, last) share of each block that is computed."""


class RowsKnown:
    """Of one model; what is asked for is worked out once. Safe to share between threads."""

    def __init__(self, possible: RowsPossible) -> None:
        self._possible = possible
        self._tables: dict[int, BandTable] = {}

    @property
    def lasts(self) -> tuple[int, ...]:
        """Blocks before which bands may end."""
        return self._possible.lasts

    def chain(self, last: int) -> RowChain:
        """What bands of blocks `[0, last)` compute.

        Raises:
            models.rows.chain.RowsError: bands cannot end there.
        """
        return self._possible.chain(last)

    def table(self, last: int) -> BandTable:
        """What bands of any size take and compute.

        Raises:
            models.rows.chain.RowsError: bands cannot end before block `last`.
        """
        if last not in self._tables:
            self._tables[last] = _table(self.chain(last))
        return self._tables[last]


def rows_of(card: ModelCard, graph_blob: bytes) -> RowsKnown | None:
    """What is known of a model's rows from its graph; None where no block of it can be divided. Takes some 10 ms.

    Raises:
        models.stage.BadGraphError: the graph does not fit the card.
    """
    possible = deepest(card, graph_blob)
    return RowsKnown(possible) if possible.boundaries else None


def _table(chain: RowChain) -> BandTable:
    sizes = np.unique(np.linspace(1, chain.height, min(_SIZES, chain.height)).round().astype(int))
    taken, shares = [], []
    for size in sizes.tolist():
        first = (chain.height - size) // 2
        rows = first, first + size
        above, below = rows_needed(chain, rows)
        taken.append(below - above)
        shares.append(band_fractions(chain, rows))
    every = np.arange(chain.height + 1)
    by_block = np.array(shares, dtype=np.float64)
    read_off = [np.interp(every, sizes, by_block[:, block]) for block in range(chain.last)]
    return BandTable(np.interp(every, sizes, taken), np.stack(read_off, axis=1))
