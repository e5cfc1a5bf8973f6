"""How much of what comes out hangs on what was assumed: the same questions under other assumptions. No learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.study.assumptions import VARIANTS
from bench.study.devices import TABLES
from bench.study.gaps import Gap, beaten, gaps
from bench.study.methods import prepare
from bench.study.statements import WEIGHT, Verdict, verdicts
from bench.study.sweep import FEW_BANDWIDTHS_MBPS, grid, sweep


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """One table under one set of assumptions."""

    assumed: str
    table: str
    gaps: dict[str, Gap]
    verdicts: list[Verdict]
    splits: list[tuple[int, ...]]
    """The best ones, by bandwidth."""
    beaten: list[str]
    """Where something was cheaper than `exact`: nowhere."""


def sensitivity(seed: int, tell: Callable[[int], None]) -> list[Sensitivity]:
    """Every variant and table, at a few bandwidths, with `exact` in the place of the paper's learner.

    Args:
        seed: of the colony and of random shares.
        tell: is told how many are done.
    """
    points = grid(FEW_BANDWIDTHS_MBPS, [WEIGHT])
    found: list[Sensitivity] = []
    for name, assumed in VARIANTS.items():
        for table in TABLES:
            answers = sweep(prepare(table, assumed, seed), points, {}, lambda _: None)
            best = [every["exact"].splits for every in answers.values()]
            said = verdicts(table, answers, "exact")
            found.append(Sensitivity(name, table, gaps(answers), said, best, beaten(answers)))
            tell(len(found))
    return found
