"""What one band costs: multiply-accumulates of its rows and of its halo, and the bytes that come in and go out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from models.rows.chain import RowChain, Rows, RowStep
from models.rows.needed import rows_by_tensor
from models.runtime.need import ACTIVATION_FACTOR, NODE_BYTES, SESSION_BYTES, WEIGHT_FACTOR
from schemas.model import ModelCard

_SLICES: Final = 2
"""A band crops where readers of a tensor need different rows: up to so many nodes more for each of its own."""


def band_macs(chain: RowChain, gives: Rows) -> tuple[int, ...]:
    """Multiply-accumulates of a band, one number per block `[0, chain.last)`, halo included.

    Raises:
        RowsError: the output has no such rows.
    """
    needed = rows_by_tensor(chain, gives)
    totals = [0] * chain.last
    for step in chain.steps:
        if step.macs:
            totals[step.block] += round(step.macs * _share(chain, step, needed))
    return tuple(totals)


def band_fractions(chain: RowChain, gives: Rows) -> tuple[float, ...]:
    """Which share of each block `[0, chain.last)` a band computes, 0 to 1: multiply with the block's measured time.

    By multiply-accumulates; by elements made where a block has none.

    Raises:
        RowsError: the output has no such rows.
    """
    needed = rows_by_tensor(chain, gives)
    done, whole = ([[0.0, 0.0] for _ in range(chain.last)] for _ in range(2))
    for step in chain.steps:
        share = _share(chain, step, needed)
        elements = sum(chain.tensors[name].row_bytes * chain.tensors[name].height for name in _with_rows(chain, step))
        for kind, work in enumerate((step.macs, elements)):
            done[step.block][kind] += share * work
            whole[step.block][kind] += work
    return tuple(_fraction(mine, all_) for mine, all_ in zip(done, whole, strict=True))


def halo_macs(chain: RowChain, gives: Sequence[Rows]) -> int:
    """Multiply-accumulates that bands giving these rows do beyond one device's: what lies in a halo is done twice.

    Raises:
        RowsError: the output has no such rows.
    """
    return sum(sum(band_macs(chain, rows)) for rows in gives) - sum(band_macs(chain, (0, chain.height)))


def band_bytes(chain: RowChain, gives: Rows) -> tuple[int, int]:
    """Bytes that a band takes and gives, uncompressed.

    Raises:
        RowsError: the output has no such rows.
    """
    first, last = rows_by_tensor(chain, gives)[chain.input]
    taken, given = chain.tensors[chain.input].row_bytes, chain.tensors[chain.output].row_bytes
    return (last - first) * taken, (gives[1] - gives[0]) * given


def band_memory_bytes(card: ModelCard, chain: RowChain, gives: Rows) -> int:
    """What a band takes in the process that runs it: all weights of its blocks, and its own rows of the activations.

    An estimate by the same formula as for a stage, see `models.runtime.need`.

    Raises:
        RowsError: the output has no such rows.
    """
    weights = sum(block.weight_bytes for block in card.blocks[: chain.last])
    activations = max(round(ACTIVATION_FACTOR * _peak(chain, gives)), sum(band_bytes(chain, gives)))
    return SESSION_BYTES + _SLICES * NODE_BYTES * len(chain.steps) + round(WEIGHT_FACTOR * weights) + activations


def _peak(chain: RowChain, gives: Rows) -> int:
    """Largest sum of the band's tensors alive at once, bytes."""
    needed = rows_by_tensor(chain, gives)
    size = {name: (last - first) * chain.tensors[name].row_bytes for name, (first, last) in needed.items()}
    last_use = {name: i for i, step in enumerate(chain.steps) for name, _ in step.reads}
    alive = {chain.input}
    peak = size[chain.input]
    for i, step in enumerate(chain.steps):
        alive.update(name for name in step.makes if name in size)
        peak = max(peak, sum(size[name] for name in alive))
        alive = {name for name in alive if last_use.get(name, -1) > i or name == chain.output}
    return peak


def _share(chain: RowChain, step: RowStep, needed: Mapping[str, Rows]) -> float:
    made = next((name for name in step.makes if name in needed), None)
    if made is None:
        return 1.0
    first, last = needed[made]
    return (last - first) / chain.tensors[made].height


def _with_rows(chain: RowChain, step: RowStep) -> list[str]:
    return [name for name in step.makes if name in chain.tensors]


def _fraction(done: Sequence[float], whole: Sequence[float]) -> float:
    """By the first kind of work that the block has."""
    return next((mine / all_ for mine, all_ in zip(done, whole, strict=True) if all_), 1.0)
