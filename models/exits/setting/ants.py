"""An ant colony: ants walk from exit to exit, and paths that others found good smell stronger.

Ant colony optimisation with bounds on the pheromone (Stuetzle and Hoos, MAX-MIN ant system, 2000), which Ma and Tang
(2024) use for exits; colony size, evaporation and exponents are reconstructed.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.exits.setting.setting import Judge, Setting

_ANTS: Final = 16
_EVAPORATION: Final = 0.2
_LEAST, _MOST = 0.02, 1.0
_SIGHT: Final = 1.0
"""Exponent of what a step costs by itself; pheromone has 1."""


def ant_colony(
    judge: Judge, seeds: Iterable[tuple[int, ...]], rng: np.random.Generator, rounds: int = 25, ants: int = _ANTS
) -> Setting:
    """The best setting found; never worse than the best seed, nor than no early exit at all.

    Args:
        judge: of the network, its observations and the target.
        seeds: settings whose paths smell from the beginning.
        rng: where the ants' choices come from.
        rounds: how often all ants walk.
        ants: how many.

    Raises:
        UnreachableAccuracyError: nothing that was found reaches the target.
    """
    last = judge.layers.last
    best = min((judge.judge(exits) for exits in (*seeds, ())), key=judge.rank)
    smell = np.full((last + 2, last + 2), 0.3)
    _mark(smell, best.exits, last)
    seen = _sight(judge) ** _SIGHT
    for _ in range(rounds):
        found = [judge.judge(_walk(smell * seen, rng)) for _ in range(ants)]
        leader = min(found, key=judge.rank)
        best = min((best, leader), key=judge.rank)
        smell *= 1 - _EVAPORATION
        _mark(smell, leader.exits, last)
        _mark(smell, best.exits, last)
        np.clip(smell, _LEAST, _MOST, out=smell)
    return judge.best()


def _mark(smell: NDArray[np.float64], exits: tuple[int, ...], last: int) -> None:
    # Row and column are shifted by one: row 0 is the way from the input.
    for before, after in pairwise((-1, *exits, last)):
        smell[before + 1, after + 1] += _EVAPORATION


def _sight(judge: Judge) -> NDArray[np.float64]:
    """How good a step looks by itself: layers passed per expected cost, as if exits were nested."""
    layers, able = judge.layers, judge.observed.able
    until = np.concatenate([[0.0], np.cumsum(layers.flops)])
    looks = np.zeros((layers.last + 2, layers.last + 2))
    for before in range(-1, layers.last):
        left = 0.0 if before < 0 else able[before]
        for after in range(before + 1, layers.last + 1):
            cost = (1 - left) * (until[after + 1] - until[before + 1] + layers.exit_flops[after])
            looks[before + 1, after + 1] = (after - before) / (cost + 1e-3 * (until[-1] or 1.0))
    whole: NDArray[np.float64] = looks / looks.max()
    return whole


def _walk(attraction: NDArray[np.float64], rng: np.random.Generator) -> tuple[int, ...]:
    exits: list[int] = []
    here, end = 0, attraction.shape[0] - 1
    while True:
        ways = np.cumsum(attraction[here, here + 1 :])
        here += 1 + int(np.searchsorted(ways, rng.random() * ways[-1], side="right").clip(0, len(ways) - 1))
        if here == end:
            return tuple(exits)
        exits.append(here - 1)
