"""Is one plan better than another, with confidence? Discounted differences of measurements made one after the other.

Each pair is a measurement of one plan beside those of the other since the pair before, so that what slows both down at
a time does not count. Of so few pairs nobody knows the spread: a spread seen beforehand counts as some of them, and the
bound is Student's (Cornish and Fisher's expansion of its quantile, 1938).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

KEEP: Final = 0.95
"""Of the pairs before, when one comes."""
PAIRS_MIN: Final = 3.0
"""Pairs before anything is said."""
CONFIDENCE_Z: Final = 2.05
"""Quantile of the normal distribution, one side: 98 %; it is looked at again and again."""
SPREAD: Final = 0.1
"""Of differences, relative, before any was seen,"""
SPREAD_PAIRS: Final = 2.0
"""and how many pairs that knowledge is worth."""
_DIFFERENCE_MOST: Final = 2.0


@dataclass(frozen=True, slots=True)
class Pairs:
    """What differences of a challenger to an incumbent are known, as shares of the incumbent's cost."""

    weight: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def with_pair(self, challenger: float, incumbent: float) -> Pairs:
        """After one more pair of costs, both above 0."""
        gain = max(-_DIFFERENCE_MOST, 1 - challenger / incumbent)
        return Pairs(KEEP * self.weight + 1, KEEP * self.total + gain, KEEP * self.squares + gain**2)

    def faded(self, keep: float) -> Pairs:
        """As sure as if there had been only this share of the pairs."""
        return Pairs(keep * self.weight, keep * self.total, keep * self.squares)

    @property
    def mean(self) -> float:
        """The share of the incumbent's cost that the challenger saves; 0 before the first pair."""
        return self.total / self.weight if self.weight > 0 else 0.0

    @property
    def at_least(self) -> float:
        """What it saves at least, with confidence; minus infinity of too few pairs."""
        return self.mean - self._margin

    @property
    def at_most(self) -> float:
        """What it saves at most, with confidence; infinity of too few pairs."""
        return self.mean + self._margin

    @property
    def _margin(self) -> float:
        if self.weight < PAIRS_MIN - 0.5:
            return math.inf
        seen = max(0.0, self.squares - self.weight * self.mean**2)
        known = self.weight - 1 + SPREAD_PAIRS
        variance = (seen + SPREAD_PAIRS * SPREAD**2) / known
        return student(CONFIDENCE_Z, known) * math.sqrt(variance / self.weight)


def through(over_middle: Pairs, middle_over_last: Pairs) -> Pairs:
    """What is known of a first plan against a third, where both were compared with a second."""
    weight = min(over_middle.weight, middle_over_last.weight)
    mean = 1 - (1 - over_middle.mean) * (1 - middle_over_last.mean)
    spread = sum(
        max(0.0, one.squares / one.weight - one.mean**2) if one.weight > 0 else 0.0
        for one in (over_middle, middle_over_last)
    )
    return Pairs(weight, weight * mean, weight * (mean**2 + spread))


def student(z: float, freedom: float) -> float:
    """The quantile of Student's distribution that lies where z does in the normal one, for 2 degrees or more."""
    first = (z**3 + z) / (4 * freedom)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return z + first + second
