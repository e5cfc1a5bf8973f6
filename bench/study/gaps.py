"""How far every method is from the best decision there is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

import numpy as np

from bench.study.sweep import Answers

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Gap:
    """A method's cost over the best one's, minus 1, over all points."""

    mean: float
    p95: float
    worst: float
    best_at: float
    """Share of points where it is as cheap as the best decision, to a millionth."""


def gaps(answers: Answers) -> dict[str, Gap]:
    """By method."""
    return {name: _gap(_over(answers, name)) for name in next(iter(answers.values()))}


def beaten(answers: Answers) -> list[str]:
    """Where a method is cheaper than `exact`, in words: nowhere, or something here is wrong."""
    return [
        f"{name} at {point.bandwidth_mbps:g} Mbit/s and w {point.w:g}: {decision.cost!r} < {every['exact'].cost!r}"
        for point, every in answers.items()
        for name, decision in every.items()
        if decision.cost < every["exact"].cost * (1 - _ROUNDING)
    ]


def _over(answers: Answers, name: str) -> list[float]:
    return [every[name].cost / every["exact"].cost - 1 for every in answers.values()]


def _gap(over: list[float]) -> Gap:
    as_good = sum(one < 1e-6 for one in over) / len(over)
    return Gap(fmean(over), float(np.percentile(over, 95)), max(over), as_good)
