"""Every choice of thresholds worth having: those that no other beats in accuracy and work at once. Pure.

Exits are decided one after the other, front to back. Partial choices are compared by what they would lead to if all
later exits stayed closed, and by what if everybody left at the next one; the most accurate ones of each cost are
pursued: a beam search [R], which is exhaustive as long as nothing falls out of the beam.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from models.exits.calibration import Choice, Verdicts, Work, evaluate, verdicts
from models.exits.measured import Measured
from schemas.model import CLOSED

_LEVELS: Final = 24
_BEAM: Final = 400
_MOST: Final = 48
_DIGITS: Final = 4


def worthwhile(
    measured: Measured, work: Work, *, levels: int = _LEVELS, beam: int = _BEAM, most: int = _MOST
) -> tuple[Choice, ...]:
    """Choices from the cheapest to the most accurate; each is more accurate and more work than the one before.

    Args:
        measured: validation data.
        work: what is computed until where.
        levels: thresholds tried for each exit: quantiles of its confidences, everybody, nobody.
        beam: partial choices pursued; exact where `(levels + 2) ** (exits - 1)` does not exceed it.
        most: results; beyond it some between the two ends are left out.
    """
    partial = [_Partial((), np.ones(len(measured.confidence), bool), 0, 0)]
    grown: list[_Grown] = []
    for place in range(measured.exits):
        exit_ = _Exit.at(place, measured, work, levels)
        grown = [one for parent, each in enumerate(partial) for one in _grown(parent, each, exit_)]
        if place < measured.exits - 1:
            partial = [_taken(partial[one.parent], exit_, one.threshold) for one in _kept(grown, beam)]
    last = _front(grown)
    if len(last) > most:
        last = [last[place] for place in np.unique(np.linspace(0, len(last) - 1, most).round().astype(int))]
    return tuple(evaluate(measured, work, (*partial[one.parent].thresholds, one.threshold)) for one in last)


def threshold_levels(confidence: np.ndarray[Any, np.dtype[np.float32]], levels: int) -> tuple[float, ...]:
    """Thresholds worth trying, rising: everybody leaves (0), evenly many more stay at each, nobody leaves (1)."""
    quantiles = np.quantile(confidence.astype(float), np.linspace(0, 1, levels))
    return tuple(sorted({0.0, *(round(float(one), _DIGITS) for one in quantiles), CLOSED}))


@dataclass(frozen=True)
class _Partial:
    """Thresholds of the first exits, who is still under way, and hits and work of those who are not."""

    thresholds: tuple[float, ...]
    alive: Verdicts
    hits: int
    macs: int


@dataclass(frozen=True, slots=True)
class _Grown:
    """A partial choice with one more threshold: hits and work if all later exits were closed, and if all left next."""

    parent: int
    threshold: float
    hits: int
    macs: int
    hits_next: int
    macs_next: int


@dataclass(frozen=True)
class _Exit:
    """One exit to be decided.

    `leaving[candidate, n]`: whether example n would leave here with that threshold; `right` and `right_at_end`: whether
    it would be answered rightly here, and at the end.
    """

    candidates: tuple[float, ...]
    leaving: Verdicts
    right: Verdicts
    right_next: Verdicts
    right_at_end: Verdicts
    until: int
    until_next: int
    whole: int
    head: int

    @classmethod
    def at(cls, place: int, measured: Measured, work: Work, levels: int) -> _Exit:
        candidates = threshold_levels(measured.confidence[:, place], levels)
        return cls(
            candidates,
            np.stack([verdicts(measured, place, one) for one in candidates]),
            measured.correct[:, place],
            measured.correct[:, place + 1],
            measured.correct[:, -1],
            work.until[place],
            work.until[place + 1] + (*work.heads, 0)[place + 1],
            work.until[-1],
            work.heads[place],
        )


def _grown(parent: int, each: _Partial, exit_: _Exit) -> Iterator[_Grown]:
    leaves = exit_.leaving & each.alive
    gone = leaves.sum(axis=1)
    hits = each.hits + (leaves & exit_.right).sum(axis=1)
    # Who leaves here is not answered later.
    end = (each.alive & exit_.right_at_end).sum() - (leaves & exit_.right_at_end).sum(axis=1)
    next_ = (each.alive & exit_.right_next).sum() - (leaves & exit_.right_next).sum(axis=1)
    here = int(each.alive.sum())
    for number, threshold in enumerate(exit_.candidates):
        left = int(gone[number])
        macs = each.macs + exit_.until * left + (exit_.head * here if threshold < CLOSED else 0)
        yield _Grown(
            parent,
            threshold,
            int(hits[number] + end[number]),
            macs + exit_.whole * (here - left),
            int(hits[number] + next_[number]),
            macs + exit_.until_next * (here - left),
        )


def _taken(each: _Partial, exit_: _Exit, threshold: float) -> _Partial:
    leaves = each.alive & exit_.leaving[exit_.candidates.index(threshold)]
    head = exit_.head * int(each.alive.sum()) if threshold < CLOSED else 0
    return _Partial(
        (*each.thresholds, threshold),
        each.alive & ~leaves,
        each.hits + int((leaves & exit_.right).sum()),
        each.macs + exit_.until * int(leaves.sum()) + head,
    )


def _kept(grown: Sequence[_Grown], beam: int) -> list[_Grown]:
    """The most accurate of each cost, half of them by either way of looking ahead."""
    if len(grown) <= beam:
        return list(grown)
    closed = _best([(one.macs, one.hits) for one in grown], beam // 2)
    leaving = _best([(one.macs_next, one.hits_next) for one in grown], beam - beam // 2)
    return [grown[number] for number in sorted({*closed, *leaving})]


def _best(worth: Sequence[tuple[int, int]], count: int) -> list[int]:
    """Numbers of the most accurate ones in each of `count` equal parts, ordered by cost."""
    ordered = sorted(range(len(worth)), key=lambda number: (worth[number][0], -worth[number][1]))
    edges = np.linspace(0, len(ordered), count + 1).round().astype(int)
    return [max(ordered[a:b], key=lambda number: worth[number][1]) for a, b in pairwise(edges)]


def _front(grown: Sequence[_Grown]) -> list[_Grown]:
    front: list[_Grown] = []
    for one in sorted(grown, key=lambda one: (one.macs, -one.hits)):
        if not front or one.hits > front[-1].hits:
            front.append(one)
    return front
