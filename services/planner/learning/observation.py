"""What a trained policy sees of a deployment: a row of numbers per plan, the same for any fleet and any model.

Shares and logarithms of ratios only, so that what was trained on one fleet means something on another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.planner.learning.arms import ARMS_MOST, Arm
from services.planner.learning.learner import Learner

Floats = NDArray[np.float64]

FEATURES: Final = (
    "there", "predicted", "compute", "up", "down", "devices", "tried", "off", "measured", "age", "estimate", "unsure",
    "incumbent", "gain", "pairs",
)  # fmt: skip
"""Of every plan; ratios as logarithms, `predicted` and `measured` over the incumbent's."""
OBSERVED: Final = ARMS_MOST * len(FEATURES)
_AGE: Final = 20.0
_LOG_MOST: Final = 2.0


def observation(learner: Learner, arms: Sequence[Arm], incumbent: Arm) -> Floats:
    """(OBSERVED,) float64, every number within -2..2; plans that are not there are rows of zeros."""
    rows = np.zeros((ARMS_MOST, len(FEATURES)))
    found = learner.linear.estimates({arm.name: (arm.terms, arm.cost) for arm in arms[:ARMS_MOST]})
    reference = learner.known(incumbent, found[incumbent.name].mean if incumbent.name in found else incumbent.cost)
    for row, arm in zip(rows, arms, strict=False):
        tried = learner.tried.get(arm.name)
        measured = tried.cost.value() if tried is not None else arm.cost
        pairs = learner.between(arm, incumbent)
        row[:] = (
            1.0,
            _log(arm.cost / incumbent.cost),
            *(_share(arm, kind) for kind in ("compute", "up", "down")),
            min(1.0, len({term.partition(".")[0] for term in arm.terms if "." in term}) / 4),
            float(tried is not None),
            _log(measured / arm.cost),
            _log(measured / reference) if tried is not None else 0.0,
            min(1.0, (learner.decisions - tried.at) / _AGE) if tried is not None else 1.0,
            _log(found[arm.name].mean / reference),
            min(_LOG_MOST, found[arm.name].unsure / arm.cost),
            float(arm is incumbent),
            max(-1.0, min(1.0, pairs.mean)),
            min(1.0, pairs.weight / 5),
        )
    return rows.ravel()


def _share(arm: Arm, kind: str) -> float:
    return min(1.0, sum(ms for term, ms in arm.terms.items() if term.endswith(f".{kind}")) / arm.cost)


def _log(ratio: float) -> float:
    return max(-_LOG_MOST, min(_LOG_MOST, math.log(max(1e-6, ratio))))
