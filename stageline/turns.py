"""Whose turn it is, by weights.

Weights are honoured by smooth weighted round robin (as in nginx's upstream module): over any run of requests each
route gets its share, and a heavy route's turns are spread out and not bunched.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

_LEAST_WEIGHT: Final = 1e-9
"""A route of weight 0 still serves when it is the only one left."""


class Turns:
    """Whose turn it is among weighted routes."""

    def __init__(self, weights: Sequence[float]) -> None:
        self._weights = tuple(max(weight, _LEAST_WEIGHT) for weight in weights)
        self._credit = [0.0] * len(weights)

    def whose(self, eligible: Collection[int]) -> int | None:
        """The next route among `eligible`, or None when there is none."""
        return max(sorted(eligible), key=lambda route: self._credit[route] + self._weights[route], default=None)

    def take(self, eligible: Collection[int]) -> int | None:
        """As `whose`, and its turn is over; those that are not eligible keep their credit."""
        chosen = self.whose(eligible)
        if chosen is not None:
            for route in eligible:
                self._credit[route] += self._weights[route]
            self._credit[chosen] -= sum(self._weights[route] for route in eligible)
        return chosen
