"""Which groups of devices should work together: the partition of a fleet into routes with the largest total rate.

    best[S] = max( best[S - u], max over T in S, u in T of rate[T] + best[S - T] ),  u the last device of S

Either that device stays unused, or it belongs to exactly one route T. O(3^n), vectorised over T.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from services.planner.cost import Floats
from services.planner.subset_dp import bit_counts, subsets_of

_TIE: Final = 1e-11
"""A device is used only if it adds more than this share of the best route's rate."""


def best_partitions(rate: Floats) -> Floats:
    """For every set of devices, the largest total rate of disjoint routes inside it, shape (2^n,).

    Args:
        rate: (2^n,) requests per second of the best route over exactly those devices, 0 where there is none.
    """
    value = _value(rate)
    best = np.zeros(len(rate))
    for subset in range(1, len(rate)):
        highest = 1 << (subset.bit_length() - 1)
        rest = subset ^ highest
        routes = subsets_of(rest) | highest
        best[subset] = max(best[rest], (value[routes] + best[subset ^ routes]).max())
    return best


def parts(best: Floats, rate: Floats, subset: int) -> list[int]:
    """The routes behind `best[subset]`, as sets of devices."""
    value = _value(rate)
    found = []
    while subset:
        highest = 1 << (subset.bit_length() - 1)
        rest = subset ^ highest
        if best[subset] == best[rest]:
            subset = rest
            continue
        routes = subsets_of(rest) | highest
        chosen = int(routes[(value[routes] + best[subset ^ routes]).argmax()])
        found.append(chosen)
        subset ^= chosen
    return sorted(found)


def _value(rate: Floats) -> Floats:
    devices = len(rate).bit_length() - 1
    value: Floats = rate - _TIE * float(rate.max(initial=0.0)) * bit_counts(devices)
    return value
