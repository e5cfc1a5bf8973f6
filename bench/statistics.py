"""What is said of many noisy values: the middle one, how far the quarters lie around it, and ratios of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np


class NoValuesError(ValueError):
    """Nothing was measured, so there is nothing to say of it."""

    def __init__(self) -> None:
        super().__init__("no values: a summary needs at least one measurement that succeeded")


class Summary(TypedDict):
    """A median, the quartiles around it, and of how many values; unit as that of the values."""

    median: float
    p25: float
    p75: float
    n: int


def summary(values: Sequence[float]) -> Summary:
    """Median and quartiles (linear between neighbours).

    Raises:
        NoValuesError: `values` is empty.
    """
    if not values:
        raise NoValuesError
    p25, middle, p75 = (float(value) for value in np.percentile(np.asarray(values, dtype=np.float64), (25, 50, 75)))
    return Summary(median=middle, p25=p25, p75=p75, n=len(values))


def median(values: Sequence[float]) -> float:
    """The middle one.

    Raises:
        NoValuesError: `values` is empty.
    """
    return summary(values)["median"]


def spread(values: Sequence[float]) -> list[float]:
    """`[p25, p75]`, as it stands beside a median in results.json.

    Raises:
        NoValuesError: `values` is empty.
    """
    found = summary(values)
    return [found["p25"], found["p75"]]


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Summary:
    """The ratio within each pair that was measured one right after the other, summed up.

    What slows the machine for a while slows both halves of a pair, so it leaves the ratio alone; the ratio of two
    medians has no such luck.

    Raises:
        ValueError: the lists differ in length, so they are no pairs.
        NoValuesError: there are no pairs.
    """
    return summary([over / under for over, under in zip(numerators, denominators, strict=True)])
