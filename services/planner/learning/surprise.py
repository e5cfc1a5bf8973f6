"""One measurement that is far from all that is known says that something was in the way, not yet that a plan is dear.

Noise is taken to be normal, and real noise is not: now and then everything stands still for a while. A measurement that
is further from the estimate than SURPRISING standard deviations counts as just that far (Huber 1964), unless the one
before of the same plan was as far off on the same side: then it is no accident, and counts in full.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal

from services.planner.learning.linear import NOISE, Linear

SURPRISING: Final = 3.0
"""Standard deviations, of not knowing and of noise together."""
_LEAST: Final = 0.05

Side = Literal[-1, 0, 1]
"""Surprisingly cheap, as expected, surprisingly dear."""


def believed(
    linear: Linear, name: str, terms: Mapping[str, float], predicted: float, *, measured: float, before: Side = 0
) -> tuple[float, Side]:
    """What a measurement counts as, ms, and how it surprised.

    Args:
        linear: what was learned before it.
        name: of the plan.
        terms: of its predicted cost.
        predicted: their sum, ms.
        measured: ms.
        before: how the measurement before of this plan surprised.
    """
    known = linear.estimates({name: (terms, predicted)})[name]
    far = SURPRISING * math.hypot(known.unsure, NOISE * known.mean)
    least, most = max(_LEAST * known.mean, known.mean - far), known.mean + far
    side: Side = 1 if measured > most else -1 if measured < least else 0
    if side in (0, before):
        return measured, side
    return min(most, max(least, measured)), side
