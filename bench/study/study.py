"""The whole study of one table; progress is told, nothing is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.study.assumptions import BASE
from bench.study.devices import TABLES
from bench.study.exact import exact
from bench.study.exits_too import all_ways, least_cost
from bench.study.methods import Table, prepare
from bench.study.problem import Decision, Point
from bench.study.sweep import FEW_BANDWIDTHS_MBPS, FEW_WEIGHTS, Answers, Deciding, grid, sweep

Tell = Callable[[str, int, int], None]
"""What is done now, how much of it, of how much."""
_TIMED_POINTS = 20


@dataclass(frozen=True, slots=True)
class Learned:
    """A policy, and what its training took."""

    decide: Deciding
    trained_s: float
    trained_cpu_s: float
    decisions: int


Train = Callable[[Table, str, Tell], Learned]
"""Trains one method for one table."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Of a study."""

    bandwidths_mbps: Sequence[float]
    weights: Sequence[float]
    learners: Sequence[str]
    """Methods to train; none leaves them out."""
    seed: int
    """Of the colony, of random shares and of training."""


@dataclass(frozen=True, slots=True)
class ExitsToo:
    """What choosing exits together with splits and shares would save of the least cost, over a few points."""

    mean: float
    most: float


@dataclass(frozen=True, slots=True)
class Studied:
    """One table, with all that was found."""

    table: Table
    answers: Answers
    learned: Mapping[str, Learned]
    decide_ms: Mapping[str, float]
    """By method, the mean time of a decision: of `exact` one by one, of learners all points in one go."""
    exits_too: ExitsToo

    @property
    def joint(self) -> str:
        """Which method stands for the paper's proposal: the learner, where one was trained."""
        return "ppo" if "ppo" in self.learned else "exact"


def study(name: str, terms: Terms, train: Train, tell: Tell) -> Studied:
    """Everything about one table under the study's assumptions.

    Args:
        name: the table.
        terms: what to sweep and to train.
        train: how to train.
        tell: what is done now.
    """
    table = prepare(name, BASE, terms.seed)
    points = grid(terms.bandwidths_mbps, terms.weights)
    learned = {method: train(table, method, tell) for method in terms.learners}
    decide_ms = {method: _ms(one.decide, points) for method, one in learned.items()}
    few = points[:: max(1, len(points) // _TIMED_POINTS)]
    decide_ms["exact"] = _ms(lambda asked: [exact(table.problem, point) for point in asked], few)
    answers = sweep(
        table, points, {method: one.decide for method, one in learned.items()},
        lambda done: tell(f"{name}: every method at every point", done, len(points)),
    )  # fmt: skip
    return Studied(table, answers, learned, decide_ms, _exits_too(table, tell))


def _ms(decide: Callable[[Sequence[Point]], Sequence[Decision]], points: Sequence[Point]) -> float:
    began = time.perf_counter()
    decide(points)
    return (time.perf_counter() - began) / len(points) * 1000


def _exits_too(table: Table, tell: Tell) -> ExitsToo:
    ways = [all_ways(table.network, device) for device in TABLES[table.name]]
    points = grid(FEW_BANDWIDTHS_MBPS, FEW_WEIGHTS)
    saved: list[float] = []
    for number, point in enumerate(points):
        least = least_cost(ways, table.problem.edge_gflops, point)
        saved.append(1 - least / exact(table.problem, point).cost)
        tell(f"{table.name}: exits chosen with the rest", number + 1, len(points))
    return ExitsToo(fmean(saved), max(saved))
