"""What thresholds lead to, seen on validation data alone: shares, accuracy, work, correlation. Pure.

A request meets the exits in order and leaves at the first whose confidence reaches its threshold. What a choice costs
is what the backbone computes up to where requests leave, plus the heads that they met; a threshold of 1 closes an exit,
so that its head is not computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.exits.measured import Measured
from schemas.model import CLOSED

Verdicts = np.ndarray[Any, np.dtype[np.bool_]]
Coefficients = tuple[tuple[float | None, ...], ...]
"""Pearson's, each -1 to 1; None where one of the two never changes, so that there is none."""


class UnreachableAccuracyError(ValueError):
    """An accuracy that no thresholds lead to; the message says which is the best."""

    def __init__(self, wanted: float, best: float) -> None:
        super().__init__(
            f"no thresholds reach an accuracy of {wanted:.4f} on the validation data: the best is {best:.4f}; "
            "ask for less, or train longer"
        )


class BadThresholdsError(ValueError):
    """Thresholds that do not fit the exits; says what would."""


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates of a model with exits.

    Attributes:
        until: of the backbone up to each exit, rising; the last entry is the whole backbone.
        heads: of each exit's head.
    """

    until: tuple[int, ...]
    heads: tuple[int, ...]

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if len(self.until) != len(self.heads) + 1 or list(self.until) != sorted(self.until) or self.until[-1] <= 0:
            raise ValueError(f"work {self.until} and heads {self.heads}: one rising number per exit and one at the end")


@dataclass(frozen=True)
class Choice:
    """Thresholds, one per exit, and what they lead to.

    Attributes:
        thresholds: 0 to 1; 1 is a closed exit.
        shares: of all requests, those that leave at each exit.
        accuracy: of all answers together.
        macs: expected multiply-accumulates of a request.
    """

    thresholds: tuple[float, ...]
    shares: tuple[float, ...]
    accuracy: float
    macs: float


def verdicts(measured: Measured, place: int, threshold: float) -> Verdicts:
    """M[:, place]: which examples would leave at an exit if all of them met it; bool [examples]."""
    if threshold >= CLOSED:
        return np.zeros(len(measured.confidence), bool)
    found: Verdicts = measured.confidence[:, place] >= np.float32(threshold)
    return found


def evaluate(measured: Measured, work: Work, thresholds: Sequence[float]) -> Choice:
    """What given thresholds lead to.

    Raises:
        BadThresholdsError: not one for each exit, or outside 0 to 1.
    """
    if len(thresholds) != measured.exits or any(not 0 <= one <= 1 for one in thresholds):
        raise BadThresholdsError(
            f"thresholds {', '.join(map(str, thresholds)) or 'none'}: give one from 0 to 1 for each of the "
            f"{measured.exits} exits"
        )
    alive = np.ones(len(measured.confidence), bool)
    hits, macs, shares = 0, 0, []
    for place, threshold in enumerate(thresholds):
        macs += work.heads[place] * int(alive.sum()) if threshold < CLOSED else 0
        leaves = alive & verdicts(measured, place, threshold)
        hits += int((leaves & measured.correct[:, place]).sum())
        macs += work.until[place] * int(leaves.sum())
        shares.append(float(leaves.mean()))
        alive &= ~leaves
    hits += int((alive & measured.correct[:, -1]).sum())
    macs += work.until[-1] * int(alive.sum())
    return Choice(tuple(map(float, thresholds)), tuple(shares), hits / len(alive), macs / len(alive))


def cheapest(choices: Sequence[Choice], accuracy_min: float) -> Choice:
    """The choice of least work that is at least so accurate.

    Raises:
        UnreachableAccuracyError: none is.
    """
    good = [one for one in choices if one.accuracy >= accuracy_min - 1e-9]
    if not good:
        raise UnreachableAccuracyError(accuracy_min, max(one.accuracy for one in choices))
    return min(good, key=lambda one: (one.macs, -one.accuracy))


def correlation(measured: Measured, thresholds: Sequence[float]) -> Coefficients:
    """How exits' verdicts M[n, j] go together, exits by exits.

    An exit at which all examples are confident, or none, goes together with nothing that could be known.
    """
    return _pearson(np.stack([verdicts(measured, place, one) for place, one in enumerate(thresholds)], axis=1))


def correctness_correlation(measured: Measured) -> Coefficients:
    """How being right goes together, outputs by outputs, the final one last: of exits that are closed, too."""
    return _pearson(measured.correct)


def _pearson(columns: Verdicts) -> Coefficients:
    matrix = columns.astype(float)
    centred = matrix - matrix.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    scale = np.outer(spread, spread)
    known = scale > 0
    found = np.clip(np.divide(centred.T @ centred / len(matrix), scale, out=np.zeros_like(scale), where=known), -1, 1)
    np.fill_diagonal(found, 1.0)
    return tuple(
        tuple(float(value) if known else None for value, known in zip(*rows, strict=True))
        for rows in zip(found, known, strict=True)
    )
