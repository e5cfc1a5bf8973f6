"""A setting with what it costs and how right it is, and which of two is better for a target."""

from __future__ import annotations

from dataclasses import dataclass

from models.exits.setting.layers import Layers
from models.exits.setting.observed import Observed, accuracy, expected_flops

_ROUNDING = 1e-12


class UnreachableAccuracyError(Exception):
    """No setting that was tried is as accurate as was asked for."""

    def __init__(self, target: float, best: Setting) -> None:
        super().__init__(
            f"no exits give an accuracy of {target:.4f}: the most accurate setting found, {best.exits or 'none open'}, "
            f"has {best.accuracy:.4f}. Ask for less, raise the exits' thresholds, or train on"
        )
        self.best = best


@dataclass(frozen=True, slots=True)
class Setting:
    """Open early exits, ascending, and what follows from them on the validation data."""

    exits: tuple[int, ...]
    flops: float
    """Expected, of one request."""
    accuracy: float

    def rank(self, target: float) -> tuple[float, float, tuple[int, ...]]:
        """The smaller, the better: first what is missing to the target, then FLOPs."""
        return max(0.0, target - self.accuracy - _ROUNDING), self.flops, self.exits


class Judge:
    """Settings of one network on one set of observations; each is looked at once."""

    def __init__(self, layers: Layers, observed: Observed, target: float, most: int | None = None) -> None:
        """A judge.

        Args:
            layers: the network.
            observed: validation data at all exits.
            target: accuracy to reach, 0..1; 0 where it does not matter.
            most: early exits at most; any number when not given.

        Raises:
            BadObservationsError: observations of another network.
            ValueError: the target is not within 0..1, or fewer than no exits.
        """
        observed.check(layers)
        if not 0 <= target <= 1:
            raise ValueError(f"an accuracy of {target} cannot be a target: it must be within 0..1")
        if most is not None and most < 0:
            raise ValueError(f"{most} exits at most: give 0 or more")
        self.layers, self.observed, self.target = layers, observed, target
        self.most = layers.last if most is None else most
        self._known: dict[tuple[int, ...], Setting] = {}

    def judge(self, exits: tuple[int, ...]) -> Setting:
        """The setting with its figures.

        Raises:
            BadLayersError: exits that are none of this network.
        """
        if exits not in self._known:
            flops = expected_flops(self.layers, self.observed, exits)
            self._known[exits] = Setting(exits, flops, accuracy(self.observed, exits))
        return self._known[exits]

    def rank(self, setting: Setting) -> tuple[int, float, float, tuple[int, ...]]:
        """As `Setting.rank` for this judge's target, but above all by how many exits are too many."""
        return max(0, len(setting.exits) - self.most), *setting.rank(self.target)

    def best(self) -> Setting:
        """The best of all that were judged.

        Raises:
            UnreachableAccuracyError: none reaches the target with so few exits.
        """
        found = min(self._known.values(), key=self.rank)
        if max(self.rank(found)[:2]) > 0:
            few = [one for one in self._known.values() if len(one.exits) <= self.most]
            raise UnreachableAccuracyError(self.target, max(few or [found], key=lambda one: one.accuracy))
        return found
