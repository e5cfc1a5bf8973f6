"""Which of many trained exits to keep, by every method of `models.exits.setting`; from validation data alone. Pure.

Those methods take each exit's threshold as given. Here it is the one of least work at which the exit, open by itself,
costs at most its part of the accuracy that may be lost: where that is nowhere, the exit stays closed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import comb
from typing import Final, Self

import numpy as np

from models.exits.calibration import Choice, Work, cheapest, evaluate, verdicts
from models.exits.measured import Measured
from models.exits.setting.ants import ant_colony
from models.exits.setting.beam import beam_search
from models.exits.setting.brute import MOST_LAYERS, brute_force
from models.exits.setting.interval import interval_exits
from models.exits.setting.layers import Layers
from models.exits.setting.nested import nested_exits
from models.exits.setting.observed import Observed
from models.exits.setting.setting import Judge
from models.exits.worthwhile import threshold_levels
from schemas.model import CLOSED

MOST_TRIED: Final = 4096
"""Settings that are worth trying all: with more, only the searches are asked."""
_LEVELS: Final = 64
_SEED: Final = 0

Exits = tuple[int, ...]
"""Positions among the trained exits, ascending."""
Method = Callable[["Keeping"], Exits]


class BadKeepingError(ValueError):
    """A choice that cannot be made; says what could be."""


@dataclass(frozen=True)
class Keeping:
    """What is to be chosen from.

    Attributes:
        measured: validation data of every trained exit.
        work: what is computed until where.
        thresholds: one per exit, which it has if it is kept.
        most: exits that may be kept.
        target: accuracy to reach, 0 to 1.
    """

    measured: Measured
    work: Work
    thresholds: tuple[float, ...]
    most: int
    target: float

    @classmethod
    def of(cls, measured: Measured, work: Work, most: int, loss: float) -> Self:
        """The choice of `most` exits that lose at most `loss` of the accuracy of the network's own end, 0 to 1.

        Raises:
            BadKeepingError: there is but one exit, or not so many, or the loss is no share.
        """
        there = measured.exits
        if there < 2:
            raise BadKeepingError(
                "it has one exit, so there is nothing to choose: train with more of them first, as with --at auto:6"
            )
        if not 1 <= most <= there:
            raise BadKeepingError(f"{most} exits cannot be kept of {there}: give 1 to {there}")
        if not 0 <= loss <= 1:
            raise BadKeepingError(f"loss of accuracy {loss:g}: write a share from 0 to 1, like 0.01")
        end = measured.accuracy[-1]
        alone = tuple(_alone(measured, work, place, end - loss / most) for place in range(there))
        return cls(measured, work, alone, most, max(0.0, end - loss))

    @property
    def layers(self) -> Layers:
        """The network as stretches between exits; the last one ends at its own end, which has no head to add."""
        steps = tuple(float(after - before) for before, after in pairwise((0, *self.work.until)))
        return Layers(steps, (*map(float, self.work.heads), 0.0))

    @property
    def observed(self) -> Observed:
        """Who would leave where, and who would be right there."""
        early = [verdicts(self.measured, place, one) for place, one in enumerate(self.thresholds)]
        return Observed(np.stack([*early, np.ones_like(early[0])], axis=1), self.measured.correct)

    @property
    def judge(self) -> Judge:
        """Of settings with at most so many exits."""
        return Judge(self.layers, self.observed, self.target, self.most)

    def outcome(self, exits: Exits) -> Choice:
        """What keeping just these leads to; the others are closed."""
        kept = [one if place in exits else CLOSED for place, one in enumerate(self.thresholds)]
        return evaluate(self.measured, self.work, kept)

    def reached(self, choice: Choice) -> bool:
        """Whether it is accurate enough."""
        return choice.accuracy >= self.target - 1e-9


def methods(keeping: Keeping) -> dict[str, Method]:
    """Every method that fits the size of this choice, by name; each may keep fewer than it might."""
    there = len(keeping.thresholds)
    found: dict[str, Method] = {"spinn": _spinn, "dp": _dp, "beam": _beam, "aco": _aco}
    if sum(comb(there, count) for count in range(keeping.most + 1)) <= MOST_TRIED and there <= MOST_LAYERS - 1:
        found["brute-force"] = _brute
    return found


def _alone(measured: Measured, work: Work, place: int, target: float) -> float:
    levels = threshold_levels(measured.confidence[:, place], _LEVELS)
    rest = [CLOSED] * measured.exits
    tried = [evaluate(measured, work, [*rest[:place], one, *rest[place + 1 :]]) for one in levels]
    return cheapest(tried, target).thresholds[place]


def _spinn(keeping: Keeping) -> Exits:
    return interval_exits(keeping.layers, 1 / (keeping.most + 1))


def _dp(keeping: Keeping) -> Exits:
    return nested_exits(keeping.layers, keeping.observed.able, keeping.most)


def _beam(keeping: Keeping) -> Exits:
    return beam_search(keeping.judge, (_spinn(keeping), _dp(keeping))).exits


def _aco(keeping: Keeping) -> Exits:
    return ant_colony(keeping.judge, (_spinn(keeping), _dp(keeping)), np.random.default_rng(_SEED)).exits


def _brute(keeping: Keeping) -> Exits:
    return brute_force(keeping.layers, keeping.observed, keeping.target, keeping.most).exits
