"""Backwards through the fused blocks: which rows of every tensor a band of the last one needs.

For a convolution that is `[o1*s-p, (o2-1)*s-p+k)` of its input for rows `[o1, o2)` of its output, without what lies in
the padding (DeepThings, Zhao et al., TCAD 2018). A tensor that several steps read is needed from the first row any of
them needs to the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from models.rows.chain import Reach, RowChain, Rows, RowsError

_REMEMBERED: Final = 4096
"""Whoever looks for the best shares asks for the same bands again and again."""


def rows_needed(chain: RowChain, gives: Rows) -> Rows:
    """Rows of the input that a band giving rows `gives` of the output takes, halo included.

    Raises:
        RowsError: the output has no such rows.
    """
    return rows_by_tensor(chain, gives)[chain.input]


@lru_cache(maxsize=_REMEMBERED)
def rows_by_tensor(chain: RowChain, gives: Rows) -> Mapping[str, Rows]:
    """Rows of every tensor that the band computes (of the input: takes). Tensors of one step have the same.

    Raises:
        RowsError: the output has no such rows.
    """
    first, last = gives
    if not 0 <= first < last <= chain.height:
        raise RowsError(f"{chain.output} has rows 0:{chain.height}; no band can give {first}:{last}")
    needed: dict[str, Rows] = {chain.output: gives}
    for step in reversed(chain.steps):
        made = [needed[name] for name in step.makes if name in needed]
        if not step.reads or not made:
            continue
        rows = _hull(made)
        needed.update((name, rows) for name in step.makes)
        for name, reach in step.reads:
            wanted = inside(reach, rows, chain.tensors[name].height)
            needed[name] = _hull([wanted, needed.get(name, wanted)])
    return MappingProxyType(needed)


def inside(reach: Reach, rows: Rows, height: int) -> Rows:
    """Input rows that exist, for output rows `rows`; where only padding is needed the row next to it, never none."""
    first, last = reach.window(rows)
    return min(max(first, 0), height - 1), max(min(last, height), 1)


def _hull(several: list[Rows]) -> Rows:
    return min(first for first, _ in several), max(last for _, last in several)
