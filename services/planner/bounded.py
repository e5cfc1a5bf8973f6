"""The fastest pipelines whose latency stays within a bound, exactly, and only for sets of devices that matter.

For a threshold on the bottleneck, the least latency over every set follows from one sum-DP over the stages below
the threshold; so a set's best bottleneck is found by bisection over the stage bottlenecks that occur. Every probe
narrows all of the set's subsets as well. Rates start as upper bounds (the bottleneck without any latency bound),
and only sets that the best partition wants to use are looked at closer, one step of bisection at a time: the caller
asks until all that it wants are exact. Then no other partition can be better, for all others are bounded above.
"""

from __future__ import annotations

import numpy as np

from services.planner.bound import rates_of
from services.planner.cost import Floats, Problem
from services.planner.subset_dp import fill, members, subsets_of


class BoundedRates:
    """Upper bounds on the rate of the best pipeline over exactly each set of devices, made exact on demand."""

    def __init__(self, problem: Problem, fastest_ms: Floats) -> None:
        """`fastest_ms`: (2^n,) least bottleneck over exactly each set, whatever the latency."""
        self._problem = problem
        bound = problem.deployment.latency_bound_ms
        self._left_ms = np.inf if bound is None else bound * (1 + 1e-12) - problem.submit_ms
        self._thresholds = np.unique(problem.bottleneck_ms[np.isfinite(problem.bottleneck_ms)])
        self._low = np.searchsorted(self._thresholds, fastest_ms)
        self._high = np.full(len(fastest_ms), len(self._thresholds))
        """Between them, inclusive, is the index of each set's least threshold; the last stands for "none"."""
        if np.isfinite(self._left_ms):
            reach = fill(problem.latency_ms, np.add)[:, -1]
            self._low[reach > self._left_ms] = len(self._thresholds)
        else:
            self._high = self._low.copy()

    @property
    def rate(self) -> Floats:
        """(2^n,) requests per second; 0 where no pipeline keeps the bound."""
        return rates_of(np.append(self._thresholds, np.inf)[self._low])

    def narrow(self, subset: int) -> bool:
        """One step towards one set's exact rate; False when it was exact already."""
        low, high = int(self._low[subset]), int(self._high[subset])
        if low == high:
            return False
        middle = (low + high) // 2
        if high < len(self._thresholds):
            # Halving the ratio of rates rules a set out sooner than halving the number of thresholds.
            pace = np.sqrt(self._thresholds[low] * self._thresholds[high])
            middle = min(max(int(np.searchsorted(self._thresholds, pace)), low), high - 1)
        self._probe(subset, middle)
        return True

    def threshold_ms(self, subset: int) -> float:
        """The least bottleneck of a set that keeps the bound, once its rate is exact."""
        return float(self._thresholds[self._low[subset]])

    def _probe(self, subset: int, index: int) -> None:
        devices = members(subset)
        cost = np.where(
            self._problem.bottleneck_ms[devices] <= self._thresholds[index], self._problem.latency_ms[devices], np.inf
        )
        keeps = fill(cost, np.add)[:, -1] <= self._left_ms
        sets = subsets_of(subset)
        self._high[sets] = np.where(keeps, np.minimum(self._high[sets], index), self._high[sets])
        self._low[sets] = np.where(keeps, self._low[sets], np.maximum(self._low[sets], index + 1))
