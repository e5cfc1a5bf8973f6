"""A device with a sensor learns its own idle and busy watts: a straight line through (load, watts), least squares.

Without this, the joules that a planner foresees would come from a table even where a meter is at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_KEEP: Final = 0.999
"""Weight of the past at each new sample: at one a second, half of it is forgotten in twelve minutes."""
_ENOUGH_SAMPLES: Final = 60.0
_ENOUGH_SPREAD: Final = 0.15
"""Standard deviation of the load. A device that is always idle teaches nothing of its busy watts."""
_WORTH_SAYING: Final = 0.05
"""Relative change of either end below which the line said before stays, so that it does not wander with the noise."""


@dataclass(frozen=True, slots=True)
class Line:
    """Watts at load 0 and at load 1."""

    idle_w: float
    busy_w: float

    def near(self, other: Line) -> bool:
        """Whether they differ by nothing worth saying."""
        least = _WORTH_SAYING * max(self.busy_w, 0.1)
        return abs(self.idle_w - other.idle_w) < least and abs(self.busy_w - other.busy_w) < least


class PowerFit:
    """Give it every new reading; `line` is there once the readings have been varied enough."""

    def __init__(self) -> None:
        self._count = self._load = self._watts = self._load_load = self._load_watts = 0.0
        self.line: Line | None = None

    def add(self, load: float, watts: float) -> None:
        """One reading and the busy share it was taken at."""
        self._count = self._count * _KEEP + 1
        self._load = self._load * _KEEP + load
        self._watts = self._watts * _KEEP + watts
        self._load_load = self._load_load * _KEEP + load * load
        self._load_watts = self._load_watts * _KEEP + load * watts
        line = self._solve()
        if line is not None and (self.line is None or not line.near(self.line)):
            self.line = line

    def _solve(self) -> Line | None:
        mean_load, mean_watts = self._load / self._count, self._watts / self._count
        variance = self._load_load / self._count - mean_load**2
        if self._count < _ENOUGH_SAMPLES or variance < _ENOUGH_SPREAD**2:
            return None
        slope = (self._load_watts / self._count - mean_load * mean_watts) / variance
        idle = mean_watts - slope * mean_load
        if slope < 0 or idle < 0:
            return None  # something else than our load moves these watts
        return Line(round(idle, 3), round(idle + slope, 3))
