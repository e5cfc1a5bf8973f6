"""Averages that follow what changes: exponential, corrected for their short past, and quick when something jumps.

A plain exponential average starts from a number that nobody measured, and is wrong until that is forgotten. Here the
weight of what was really seen is kept beside the sum (as in Adam, Kingma and Ba, arXiv 1412.6980): the first sample
counts in full. `Steady` holds two of them. The slow one tells what is true, with little noise; where the quick one
moves away from it by more than noise can, the world has changed, and the slow one starts again from there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Average:
    """A bias-corrected exponential moving average; unknown until the first sample."""

    total: float = 0.0
    weight: float = 0.0
    """Of the samples seen so far, 0..1: what the average of all of them is worth."""

    @property
    def known(self) -> bool:
        """There was a sample."""
        return self.weight > 0

    def value(self, unknown: float = 0.0) -> float:
        """The average of what was seen; `unknown` before that."""
        return self.total / self.weight if self.weight > 0 else unknown

    def with_sample(self, value: float, new: float) -> Average:
        """After one more sample, which the average takes `new` of, above 0 and at most 1."""
        return Average((1 - new) * self.total + new * value, (1 - new) * self.weight + new)


@dataclass(frozen=True, slots=True)
class Pace:
    """How quickly an average follows, in samples or seconds, and what is no noise any more."""

    slow: float
    quick: float
    jump: float
    """So far does noise not take the quick average from the slow one."""

    def __post_init__(self) -> None:
        if not 0 < self.quick <= self.slow or self.jump <= 0:
            raise ValueError(f"a pace needs 0 < quick <= slow and a jump above 0, not {self}")


@dataclass(frozen=True, slots=True)
class Steady:
    """An average that noise hardly moves and that follows a jump within a few samples."""

    slow: Average = Average()
    quick: Average = Average()

    @property
    def known(self) -> bool:
        """There was a sample."""
        return self.slow.known

    def value(self, unknown: float = 0.0) -> float:
        """What is true now, as far as is known; `unknown` before the first sample."""
        return self.slow.value(unknown)

    def with_sample(self, value: float, elapsed: float, pace: Pace) -> Steady:
        """After one more sample.

        Args:
            value: the sample.
            elapsed: since the sample before, in the pace's unit (1 per sample, or seconds); of no matter for the first.
            pace: how quickly to follow.
        """
        elapsed = max(_SHORTEST, elapsed)
        quick = self.quick.with_sample(value, _new(elapsed, pace.quick))
        slow = self.slow.with_sample(value, _new(elapsed, pace.slow))
        if abs(quick.value() - slow.value()) > pace.jump:
            weight = _new(pace.quick, pace.slow)
            slow = Average(quick.value() * weight, weight)
        return Steady(slow, quick)


NO_SAMPLES: Final = Steady()
"""Where an average begins."""
_SHORTEST: Final = 1e-3


def _new(elapsed: float, memory: float) -> float:
    return -math.expm1(-elapsed / memory)
