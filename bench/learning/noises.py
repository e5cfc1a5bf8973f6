"""How a decision's measurement may differ from what the plan really costs: as the learner assumes, and much worse."""

from __future__ import annotations

import math
import random
from typing import Final

from services.planner.learning.linear import NOISE as ASSUMED
from services.planner.learning.playing import NOISE

FREEDOM: Final = 3
"""Degrees of Student's distribution: of two or fewer there would be no spread."""
STALLED: Final = 0.05
"""Share of the decisions in which something else held everything up,"""
STALL: Final = 5.0
"""so that they took so many times as long."""


def as_assumed(draw: random.Random) -> float:
    """Log-normal, as wide as the learner takes it to be: twice what `ordinary` draws."""
    return draw.lognormvariate(0, ASSUMED)


def heavy_tailed(draw: random.Random) -> float:
    """Student's t in the exponent, as wide as `ordinary` in the middle; and now and then all is stalled."""
    chi = math.sqrt(draw.gammavariate(FREEDOM / 2, 2.0) / FREEDOM)
    wide = math.exp(max(-1.0, min(1.0, NOISE * draw.gauss(0, 1) / chi)))
    return wide * (STALL if draw.random() < STALLED else 1.0)
