"""Who gets which rows: in proportion to speed, then evened out by what each band really costs, halo included.

CoEdge (Zeng et al., ToN 2021) and DistrEdge (Hou et al., IPDPS 2022) give shares in proportion to speed or search for
them; with few devices and a cost that only grows with the rows, the best shares are found exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Final

from models.rows.chain import RowChain, Rows, RowsError
from models.rows.cost import band_macs

Cost = Callable[[Rows], float]
"""What it costs a device to give these rows, in any unit. More rows never cost less than the rows among them."""

_PRECISION: Final = 1e-6


def bands(height: int, weights: Sequence[float]) -> tuple[Rows | None, ...]:
    """Rows `[0, height)` divided in proportion to `weights` (largest remainder), top to bottom in their order.

    A device whose share comes to less than one row is left out (None), the least ones first, and the others get its
    rows.

    Raises:
        RowsError: no rows, or no positive finite weight.
    """
    _check(height, weights)
    counts = [0] * len(weights)
    kept = [i for i, weight in enumerate(weights) if weight > 0]
    while True:
        # Against the largest, so that huge weights do not overflow.
        largest = max(weights[i] for i in kept)
        total = math.fsum(weights[i] / largest for i in kept)
        exact = {i: height * (weights[i] / largest) / total for i in kept}
        for i in kept:
            counts[i] = int(exact[i])
        spare = height - sum(counts)
        for i in sorted(kept, key=lambda i: (counts[i] - exact[i], i))[:spare]:
            counts[i] += 1
        if all(counts[i] for i in kept):
            return tuple(_in_order(counts))
        least = min(kept, key=lambda i: (weights[i], -i))
        kept.remove(least)
        counts[least] = 0


def balance(chain: RowChain, speeds: Sequence[float]) -> tuple[Rows | None, ...]:
    """Bands whose slowest is as fast as can be, by multiply-accumulates, halo included; None for a device left out.

    Args:
        chain: see `models.rows.legal.RowsPossible.chain`.
        speeds: of the devices, top to bottom, in any unit; one that is 0 is left out.

    Raises:
        RowsError: no positive finite speed.
    """
    _check(chain.height, speeds)

    @cache
    def macs(rows: Rows) -> int:
        return sum(band_macs(chain, rows))

    def cost(speed: float) -> Cost:
        return lambda rows: macs(rows) / speed if speed > 0 else math.inf

    return fastest(chain.height, [cost(speed) for speed in speeds])


def fastest(height: int, costs: Sequence[Cost]) -> tuple[Rows | None, ...]:
    """Bands of rows `[0, height)` whose costliest costs as little as can be, top to bottom in the order of `costs`.

    Whether a limit can be kept is seen by giving each device in turn all the rows it can do within it; the least limit
    is found by halving. A device that cannot do a single row within it is left out (None).

    Raises:
        RowsError: no rows, no devices, or none that can do any.
    """
    if height < 1 or not costs:
        raise RowsError(f"{height} rows cannot be divided among {len(costs)} devices")
    high = min(cost((0, height)) for cost in costs)
    best = _within(height, costs, high)
    if best is None or not math.isfinite(high):
        raise RowsError("no device can compute these rows; their costs are infinite")
    low = 0.0
    while high - low > _PRECISION * high:
        middle = (low + high) / 2
        found = _within(height, costs, middle)
        if found is None:
            low = middle
        else:
            best, high = found, _costliest(found, costs)
    return best


def _within(height: int, costs: Sequence[Cost], limit: float) -> tuple[Rows | None, ...] | None:
    """Bands that all keep to the limit, or None where there are none."""
    counts: list[int] = []
    first = 0
    for cost in costs:
        low, high = first, height
        while low < high:
            last = (low + high + 1) // 2
            low, high = (last, high) if cost((first, last)) <= limit else (low, last - 1)
        counts.append(low - first)
        first = low
    return tuple(_in_order(counts)) if first == height else None


def _costliest(found: Sequence[Rows | None], costs: Sequence[Cost]) -> float:
    return max(cost(rows) for rows, cost in zip(found, costs, strict=True) if rows)


def _in_order(counts: Sequence[int]) -> Iterator[Rows | None]:
    first = 0
    for count in counts:
        yield (first, first + count) if count else None
        first += count


def _check(height: int, weights: Sequence[float]) -> None:
    if height < 1 or not any(weight > 0 for weight in weights):
        raise RowsError(f"{height} rows cannot be divided by the weights {list(weights)}; give one above 0")
    if not all(0 <= weight < math.inf for weight in weights):
        raise RowsError(f"the weights {list(weights)} are no speeds; give finite numbers from 0")
