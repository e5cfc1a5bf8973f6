"""Which groups of devices should work together: the partition of a fleet into routes with the largest total rate.

    best[S] = max( best[S - u], max over T in S, u in T of rate[T] + best[S - T] ),  u the last device of S

Either that device stays unused, or it belongs to exactly one route T. O(3^n), vectorised over sets of equal size.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from services.planner.cost import Floats, Indices
from services.planner.subset_dp import bit_counts, subsets_of

_TIE: Final = 1e-11
"""A device is used only if it adds more than this share of the best route's rate."""


class _Layer(NamedTuple):
    """All m sets of one size; each has 2^(size - 1) subsets that hold its last device."""

    sets: Indices
    without_last: Indices
    routes: Indices
    """(m, 2^(size - 1)) those subsets."""
    rests: Indices
    """What of the set each of them leaves."""


def best_partitions(rate: Floats) -> Floats:
    """For every set of devices, the largest total rate of disjoint routes inside it, shape (2^n,).

    Args:
        rate: (2^n,) requests per second of the best route over exactly those devices, 0 where there is none.
    """
    value = _value(rate)
    best = np.zeros(len(rate))
    for layer in _layers(len(rate).bit_length() - 1):
        joined = (value[layer.routes] + best[layer.rests]).max(axis=1)
        best[layer.sets] = np.maximum(best[layer.without_last], joined)
    return best


def parts(best: Floats, rate: Floats, subset: int) -> list[int]:
    """The routes behind `best[subset]`, as sets of devices."""
    value = _value(rate)
    found = []
    while subset:
        last = 1 << (subset.bit_length() - 1)
        rest = subset ^ last
        if best[subset] == best[rest]:
            subset = rest
            continue
        routes = subsets_of(rest) | last
        chosen = int(routes[(value[routes] + best[subset ^ routes]).argmax()])
        found.append(chosen)
        subset ^= chosen
    return sorted(found)


def _value(rate: Floats) -> Floats:
    devices = len(rate).bit_length() - 1
    value: Floats = rate - _TIE * float(rate.max(initial=0.0)) * bit_counts(devices)
    return value


@lru_cache(maxsize=4)
def _layers(devices: int) -> tuple[_Layer, ...]:
    sizes = bit_counts(devices)
    layers = []
    for size in range(1, devices + 1):
        sets = np.flatnonzero(sizes == size)
        last = np.array([1 << (int(subset).bit_length() - 1) for subset in sets], dtype=np.intp)
        routes = np.stack([subsets_of(int(rest)) for rest in sets ^ last]) | last[:, None]
        layers.append(_Layer(sets, without_last=sets ^ last, routes=routes, rests=sets[:, None] ^ routes))
    return tuple(layers)
