"""Subset dynamic programming: the best pipeline over every set of devices at once.

`table[S, j]` is the least cost of running the blocks before cut position j on exactly the devices in bit set S:

    table[S, j] = min over u in S, i < j of combine(table[S - u, i], cost[u, i, j])

with `combine` the sum (latency, energy) or the maximum (bottleneck), as in PipeEdge (Hu et al. 2022) and EdgeShard
(Zhang et al. 2024), here for all orders of unequal devices. O(n 2^n P^2), vectorised over sets of equal size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.planner.cost import Floats, Indices
from services.planner.evaluate import Line, Placement

_CHUNK_FLOATS = 1 << 16
"""Intermediate results of half a megabyte stay in a small device's cache."""


def fill(cost: Floats, combine: np.ufunc) -> Floats:
    """The table, shape (2^n, P), inf where blocks cannot be run.

    Args:
        cost: (n, P, P), inf where a stage is not feasible.
        combine: np.add or np.maximum.
    """
    devices, positions, _ = cost.shape
    sets = np.arange(1 << devices)
    sizes = bit_counts(devices)
    table = np.full((1 << devices, positions), np.inf)
    table[0, 0] = 0.0
    chunk = max(1, _CHUNK_FLOATS // positions**2)
    for size in range(1, min(devices, positions - 1) + 1):
        for device in range(devices):
            holding = sets[(sizes == size) & (sets >> device & 1 == 1)]
            for start in range(0, len(holding), chunk):
                these = holding[start : start + chunk]
                before = table[these ^ (1 << device)]
                reached = combine(before[:, :, None], cost[device]).min(axis=1)
                table[these] = np.minimum(table[these], reached)
    return table


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
