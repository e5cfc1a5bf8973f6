"""How much longer than predicted each term of a plan takes: a discounted linear regression that starts at "not at all".

A plan's cost is known but for factors: `cost = predicted * (1 + theta . x)`, where x holds the shares of the predicted
cost that are each term's, and theta how much longer the terms really take (1: twice as long). That is Neurosurgeon's
split into a known and an unknown part, as in ANS / muLinUCB (Zhang et al., "Autodidactic Neurosurgeon", 2021), with the
whole prediction as the known part. Beside the terms every plan has one of its own, for what no term explains.

Bayesian: theta is normal around 0 beforehand, measurements have relative noise, and the posterior is

    A = I / spread^2 + sum_t g^(now - t) x_t x_t' / noise^2,   theta = A^-1 sum_t g^(now - t) x_t y_t / noise^2

so that old measurements are forgotten at the rate g (Russac et al., "Weighted linear bandits for non-stationary
environments", 2019), and `sqrt(x' A^-1 x)` is how unsure an estimate is. Immutable; all numbers bounded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SPREAD: Final = 0.6
"""Standard deviation of how much longer a term may take than predicted, before anything was seen."""
OWN_SPREAD: Final = 0.15
"""Of what is a plan's own."""
NOISE: Final = 0.12
"""Of one decision's measurement, relative."""
KEEP: Final = 0.99
"""Of what was learned, from one decision to the next."""
TERMS_MOST: Final = 96
"""Names that are told apart; all further ones share one."""
OFF_MOST: Final = 20.0
"""Measurements that are more off than this count as off by this."""
_FURTHER: Final = "further"
_LEAST: Final = 0.05
_FADED: Final = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """What was learned; `names[i]` is the term of row i."""

    names: tuple[str, ...] = ()
    gram: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    moment: Floats = field(default_factory=lambda: np.zeros(0))

    def learned(self, name: str, terms: Mapping[str, float], predicted: float, measured: float) -> Linear:
        """After one measurement of the plan of that name, whose terms add up to what was predicted, all above 0."""
        grown = self._with((*terms, own(name)))
        x = grown.shares(name, terms, predicted)
        y = min(OFF_MOST, measured / predicted - 1)
        return replace(
            grown,
            gram=KEEP * grown.gram + np.outer(x, x) / NOISE**2,
            moment=KEEP * grown.moment + x * y / NOISE**2,
        )

    def shares(self, name: str, terms: Mapping[str, float], predicted: float) -> Floats:
        """The shares of a plan's cost by term, (d,); terms that were never seen in a measurement are not among them."""
        place = {known: index for index, known in enumerate(self.names)}
        further = place.get(_FURTHER, -1)
        x = np.zeros(len(self.names))
        for term, ms in terms.items():
            index = place.get(term, further)
            if index >= 0:
                x[index] += ms / predicted
        index = place.get(own(name), -1)
        if index >= 0:
            x[index] += OWN_SPREAD / SPREAD
        return x

    def estimates(self, plans: Mapping[str, tuple[Mapping[str, float], float]]) -> dict[str, Estimate]:
        """What plans are taken to cost now, ms, and how unsure that is.

        Args:
            plans: by name, terms and predicted cost.
        """
        covariance = np.linalg.inv(np.eye(len(self.names)) / SPREAD**2 + self.gram) if self.names else np.zeros((0, 0))
        theta = covariance @ self.moment
        found = {}
        for name, (terms, predicted) in plans.items():
            x = self.shares(name, terms, predicted)
            unseen = _unseen(self.names, name, terms, predicted)
            variance = float(x @ covariance @ x) + SPREAD**2 * unseen
            found[name] = Estimate(
                predicted * max(_LEAST, 1 + float(x @ theta)), predicted * math.sqrt(max(0.0, variance))
            )
        return found

    def factor(self, term: str) -> float:
        """How many times longer than predicted a term is taken to be; 1 of what was never seen."""
        if term not in self.names:
            return 1.0
        theta = np.linalg.solve(np.eye(len(self.names)) / SPREAD**2 + self.gram, self.moment)
        return 1.0 + float(theta[self.names.index(term)])

    def _with(self, names: tuple[str, ...]) -> Linear:
        new = [name for name in dict.fromkeys(names) if name not in self.names]
        if len(self.names) + len(new) >= TERMS_MOST:
            faded = self._without_faded()
            if len(faded.names) < len(self.names):
                return faded._with(names)
        room = TERMS_MOST - 1 - len(self.names)
        if len(new) > room:
            new = [*new[: max(0, room)], *([_FURTHER] if _FURTHER not in self.names else [])]
        if not new:
            return self
        size = len(self.names)
        gram, moment = np.zeros((size + len(new),) * 2), np.zeros(size + len(new))
        gram[:size, :size], moment[:size] = self.gram, self.moment
        return Linear((*self.names, *new), gram, moment)

    def _without_faded(self) -> Linear:
        """Without terms that were measured so long ago that next to nothing is left of it."""
        kept = np.flatnonzero(np.diag(self.gram) > _FADED / SPREAD**2)
        return Linear(tuple(self.names[index] for index in kept), self.gram[np.ix_(kept, kept)], self.moment[kept])


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan is taken to cost, ms: the mean, and one standard deviation of not knowing."""

    mean: float
    unsure: float


def own(plan: str) -> str:
    """The term that is a plan's own."""
    return f"plan {plan}"


def _unseen(names: tuple[str, ...], plan: str, terms: Mapping[str, float], predicted: float) -> float:
    """Sum of squared shares of what was never part of a measurement: as unsure as before anything was seen."""
    further = _FURTHER in names
    shares = [ms / predicted for term, ms in terms.items() if term not in names and not further]
    own_share = OWN_SPREAD / SPREAD if own(plan) not in names and not further else 0.0
    return sum(share**2 for share in shares) + own_share**2
