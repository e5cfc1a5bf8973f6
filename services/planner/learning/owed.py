"""Trials that no policy asks for: what every policy believes of plans may be wrong altogether, and only serving tells.

A learner whose mistake is none of its terms becomes sure of what is not so, and would never try again (Zhang et al.
2021 force trials for the like). So whatever was measured to be better is looked at again; and now and then a plan is
served that never was, ever more rarely, so that in the long run it costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from services.planner.learning.arms import Arm

OWED_EVERY: Final = 6
"""Decisions since the last trial after which one is due, at least,"""
OWED_SHARE: Final = 0.1
"""and this share of all decisions so far."""
OWED_PART: Final = 0.5
"""Of the budget, that such trials may use up; the other is for what policies propose."""
PROMISING: Final = 0.05
"""What a plan must seem to save, as a share, to be looked at again."""

Known = Callable[[Arm, float], float]
"""What a plan cost when it was served, ms; the other value where it never was."""


def promising(arms: Sequence[Arm], incumbent: Arm, known: Known) -> list[Arm]:
    """Plans that were measured to be better than the incumbent, the best first."""
    least = (1 - PROMISING) * known(incumbent, incumbent.cost)
    better = [arm for arm in arms if arm is not incumbent and known(arm, math.inf) < least]
    return sorted(better, key=lambda arm: (known(arm, arm.cost), arm.name))


def owed(
    arms: Sequence[Arm], served: Collection[str], estimates: Mapping[str, float], *, decisions: int, since: int
) -> list[Arm]:
    """Plans that were never served, if one is due; the one that is taken to be best first.

    Args:
        arms: what may be served.
        served: names of those that were.
        estimates: what plans are taken to cost, by name.
        decisions: so far.
        since: how many of them came after the last trial.
    """
    if since < max(OWED_EVERY, OWED_SHARE * decisions):
        return []
    new = [arm for arm in arms if arm.name not in served]
    return sorted(new, key=lambda arm: (estimates[arm.name], arm.name))
