"""Where bands may end: a handful of cuts, those where much work lies before little data. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np

from services.planner.cost import Problem
from services.planner.rows_known import RowsKnown

TEAM: Final = 4
"""Devices that share rows at most: each further one adds its frames and its halo, and is one more to lose."""
PLACES: Final = 5
"""Cuts that bands are tried for."""


def places(problem: Problem, known: RowsKnown) -> list[int]:
    """Positions of the cuts that promise most: if rows were divided evenly at any speed, and one device did the rest.

    No pinned block may lie before them (rows of it would run elsewhere), and no exit that is open.
    """
    borders = {int(block): position for position, block in enumerate(problem.positions)}
    taken = [pin.first for pin in problem.deployment.pins] + [rule.block for rule in problem.exits]
    limit = min(taken, default=int(problem.positions[-1]) - 1)
    promise: list[tuple[float, int]] = []
    for last in known.lasts:
        position = borders.get(last)
        if position is None or last > limit:
            continue
        alone = np.sort(problem.idle_compute_ms[:, 0, position])[:TEAM]
        divided_ms = _with_halo(problem, known, last, len(alone)) / float(np.sum(1.0 / np.maximum(alone, 1e-6)))
        moving_ms = float(problem.up_ms[:, position].min() / len(alone) + problem.down_ms[:, position].min())
        rest_ms = float(problem.idle_compute_ms[:, position, -1].min())
        promise.append((divided_ms + moving_ms + rest_ms, position))
    return [position for _, position in sorted(promise)[:PLACES]]


def _with_halo(problem: Problem, known: RowsKnown, last: int, bands: int) -> float:
    """How many times more than one device so many equal bands compute together."""
    shares = known.table(last).shares
    work = np.array(problem.devices[0].profile.block_ms[:last])
    size = max(1, (len(shares) - 1) // bands)
    return bands * float(shares[size] @ work) / max(float(work.sum()), 1e-9)
