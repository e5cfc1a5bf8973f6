"""From times of short runs of blocks to what each block costs inside a stage, whatever the stage.

A block run by itself costs more than inside a longer run: a session starts and ends around it, tensors change their
memory layout at its edges, and no operator fuses across them. Measured here, 20 to 40 % of a MobileNetV2. So blocks
are also measured in pairs: what a pair saves against its two halves is what a cut between them costs.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Span = tuple[int, int]
"""Blocks `[first, last)`."""

_WINDOW_S: Final = 0.4
"""Several periods of a usual quota (0.1 s): in less, chance decides how many of its pauses are seen."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a span: what it cost by a clock that pauses do not disturb, and what it took, both in seconds."""

    span: Span
    cost_s: float
    wall_s: float


@dataclass(frozen=True)
class BlockCosts:
    """Cost of a stage [i, j): the sum of `blocks[i:j]` plus `overhead`, in the unit of the measurements."""

    blocks: tuple[float, ...]
    overhead: float


def spans_to_measure(blocks: int) -> list[Span]:
    """Every block and every pair of neighbours, in order, so that any few in a row share their weights."""
    return [span for i in range(blocks) for span in ((i, i + 1), (i, i + 2)) if span[1] <= blocks]


def separate(cost: Mapping[Span, float], longer: Sequence[Span]) -> BlockCosts:
    """Split measured costs into blocks and one overhead per stage.

    Args:
        cost: of every span of `spans_to_measure` and of `longer`.
        longer: spans that together cover all blocks, each once: the whole where it fits in memory. The blocks in
            each are scaled to add up to it, because long runs are a little cheaper than the sum of short ones.
    """
    blocks = sum(last - first for first, last in longer)
    cuts = [max(0.0, cost[i, i + 1] + cost[i + 1, i + 2] - cost[i, i + 2]) for i in range(blocks - 1)]
    # The typical cut, not the mean: a plan has reason to avoid the few where large tensors change their layout.
    overhead = statistics.median(cuts) if cuts else 0.0
    edges = [overhead, *cuts, overhead]
    inside = [max(0.0, cost[i, i + 1] - (edges[i] + edges[i + 1]) / 2) for i in range(blocks)]
    for first, last in longer:
        if (part := sum(inside[first:last])) > 0:
            scale = max(0.0, cost[first, last] - overhead) / part
            inside[first:last] = [one * scale for one in inside[first:last]]
    return BlockCosts(tuple(inside), overhead)


def typical_costs(runs: Iterable[Run]) -> dict[Span, float]:
    """What each span usually costs, seconds."""
    costs: dict[Span, list[float]] = {}
    for run in runs:
        costs.setdefault(run.span, []).append(run.cost_s)
    return {span: middle_mean(samples) for span, samples in costs.items()}


def slowdown(runs: Iterable[Run], cost: Mapping[Span, float]) -> float:
    """How much longer runs take than they cost: pauses of a quota, and whatever else the device does meanwhile.

    Compared over windows and not run by run, because most short runs see no pause and a few see all of it; the middle
    of the windows, because something else may have taken the processor in one of them.
    """
    ratios: list[float] = []
    wall = due = 0.0
    for run in runs:
        wall += run.wall_s
        due += cost[run.span]
        if wall >= _WINDOW_S:
            ratios.append(wall / due)
            wall = due = 0.0
    return middle_mean(ratios) if ratios else wall / due


def middle_mean(samples: Sequence[float]) -> float:
    """Mean of the middle half: as steady as a median, without its steps."""
    ordered = sorted(samples)
    drop = len(ordered) // 4
    return statistics.fmean(ordered[drop : len(ordered) - drop])
