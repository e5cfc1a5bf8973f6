"""Subset dynamic programming: the best pipeline over every set of devices at once.

`table[S, j]` is the least cost of running the blocks before cut position j on exactly the devices in bit set S:

    table[S, j] = min over u in S, i < j of combine(table[S - u, i], cost[u, i, j])

with `combine` the sum (latency, energy) or the maximum (bottleneck), as in PipeEdge (Hu et al. 2022) and EdgeShard
(Zhang et al. 2024), here for all orders of unequal devices. O(n 2^n P^2), vectorised over sets of equal size.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.planner.cost import Floats, Indices
from services.planner.line_cost import Line, Placement

_CHUNK_FLOATS: Final = 1 << 16
"""Intermediate results of half a megabyte stay in a small device's cache."""


class _Layer(NamedTuple):
    """All sets of one size, each with its devices, one after the other."""

    sets: Indices
    users: Indices
    """(sets * size) each device of each set,"""
    befores: Indices
    """and the set without it."""


def fill(cost: Floats, combine: np.ufunc) -> Floats:
    """The table, shape (2^n, P), inf where blocks cannot be run.

    Args:
        cost: (n, P, P), inf where a stage is not feasible.
        combine: np.add or np.maximum.
    """
    devices, positions, _ = cost.shape
    table = np.full((1 << devices, positions), np.inf)
    table[0, 0] = 0.0
    for size, layer in enumerate(_layers(devices)[: positions - 1], start=1):
        chunk = max(1, _CHUNK_FLOATS // (positions**2 * size))
        for start in range(0, len(layer.sets), chunk):
            pairs = slice(start * size, (start + chunk) * size)
            reached = cost[layer.users[pairs]]
            combine(reached, table[layer.befores[pairs], :, None], out=reached)
            least = reached.min(axis=1).reshape(-1, size, positions)
            table[layer.sets[start : start + chunk]] = least.min(axis=1)
    return table


@lru_cache(maxsize=16)
def _layers(devices: int) -> tuple[_Layer, ...]:
    sizes = bit_counts(devices)
    layers = []
    for size in range(1, devices + 1):
        sets = np.flatnonzero(sizes == size)
        users = np.array([members(int(subset)) for subset in sets], dtype=np.intp)
        layers.append(_Layer(sets, users.ravel(), (sets[:, None] ^ (1 << users)).ravel()))
    return tuple(layers)


def trace(table: Floats, cost: Floats, combine: np.ufunc, subset: int) -> Line:
    """The pipeline behind `table[subset, -1]`, which must be finite."""
    line: list[Placement] = []
    last = table.shape[1] - 1
    while subset:
        # Among equals the device named first gets the earlier blocks.
        users = members(subset)[::-1]
        reached = np.stack([combine(table[subset ^ (1 << user)], cost[user, :, last]) for user in users])
        row, first = divmod(int(reached.argmin()), reached.shape[1])
        line.append(Placement(users[row], first, last))
        subset ^= 1 << users[row]
        last = first
    return tuple(reversed(line))


def bit_counts(devices: int) -> Indices:
    """Number of devices in each of the 2^n sets."""
    counts = np.zeros(1, dtype=np.intp)
    for _ in range(devices):
        counts = np.concatenate([counts, counts + 1])
    return counts


def members(subset: int) -> list[int]:
    """Devices in a bit set, ascending."""
    return [device for device in range(subset.bit_length()) if subset >> device & 1]


def subsets_of(subset: int) -> NDArray[np.intp]:
    """All subsets of a bit set; entry t holds the members that the bits of t name."""
    found = np.zeros(1, dtype=np.intp)
    for device in members(subset):
        found = np.concatenate([found, found | (1 << device)])
    return found
