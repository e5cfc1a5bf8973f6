"""When to move: a plan is left when another is better by a margin that also pays for the switch, again and again.

Hysteresis in four parts, each against another way of flapping:

    margin      predictions err; a gain smaller than that is no gain anybody could rely on
    switch cost what a move takes, spread over the time that its gain is counted on
    agreement   several reviews in a row say so: noise does not; fewer where the change is exact or very large
    pause       after a move nothing is moved for a while: the facts of the new plan are not in yet; and for longer
                when one move follows another, as where every device slows down as soon as it is used

Pure: values in, values out, time is a number of any clock that only grows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from services.planner.doubling import doubled
from services.planner.review import Review


@dataclass(frozen=True, slots=True)
class Rules:
    """How much hysteresis."""

    margin: float = 0.15
    """Share of the objective that a move must save,"""
    horizon_s: float = 180.0
    """and the share that a switch takes of this time on top: a gain is counted on for so long."""
    agree: int = 5
    """Reviews in a row that must say so,"""
    agree_sudden: int = 2
    """and where what has changed is known exactly, or the gain is `large`."""
    large: float = 0.4
    pause_s: float = 15.0
    """Nothing is moved for so long after a move, and for twice as long after each further one that follows soon,"""
    pause_most_s: float = 240.0
    """but no longer than this;"""
    pause_sudden_s: float = 3.0
    """and where the change is sudden, so long after the first two, and twice as long after each further one: one that
    is undone soon is answered at once, too, but not for ever."""
    calm_s: float = 300.0
    """A move so long after the one before does not follow soon."""

    def threshold(self, review: Review) -> float:
        """The gain from which on moving is worth it; over 1 where it never is."""
        return self.margin + review.switch_s / self.horizon_s

    def pause_after_s(self, drift: Drift, *, sudden: bool = False) -> float:
        """How long a change waits after the last move: whoever moves again and again runs after what changes faster
        than moving can follow."""
        first_s, at_once = (self.pause_sudden_s, 2) if sudden else (self.pause_s, 1)
        return doubled(first_s, drift.moves - at_once, self.pause_most_s)


@dataclass(frozen=True, slots=True)
class Drift:
    """How far one served plan is on its way to being left."""

    agreed: int = 0
    """Reviews in a row that were in favour of moving."""
    moved_s: float = -math.inf
    """When it was moved last,"""
    moves: int = 0
    """and how many times in a row, each soon after the one before."""


def judge(drift: Drift, review: Review, now_s: float, rules: Rules) -> tuple[Drift, bool]:
    """Take one review in; True when the deployment is to move to the review's best plan now."""
    unservable = review.present is None
    if review.gain < rules.threshold(review) and not unservable:
        return replace(drift, agreed=0), False
    sudden = review.sudden or review.gain >= rules.large
    agreed = drift.agreed + 1
    # Whoever cannot be served any more has nothing to lose by moving again.
    pause_s = rules.pause_sudden_s if unservable else rules.pause_after_s(drift, sudden=sudden)
    if agreed < (rules.agree_sudden if sudden else rules.agree) or now_s - drift.moved_s < pause_s:
        return replace(drift, agreed=agreed), False
    soon = now_s - drift.moved_s < rules.calm_s
    return Drift(agreed=0, moved_s=now_s, moves=drift.moves + 1 if soon else 1), True
