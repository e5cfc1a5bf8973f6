"""Every setting there is: the oracle for small networks."""

from __future__ import annotations

from itertools import chain, combinations
from typing import Final

from models.exits.setting.layers import Layers
from models.exits.setting.observed import Observed
from models.exits.setting.setting import Judge, Setting

MOST_LAYERS: Final = 17


def brute_force(layers: Layers, observed: Observed, target: float, most: int | None = None) -> Setting:
    """The setting of least expected FLOPs among all 2^(layers-1), or those of `most` exits, that reach the accuracy.

    Raises:
        UnreachableAccuracyError: there is none.
        ValueError: too many layers to try everything.
    """
    if len(layers) > MOST_LAYERS:
        raise ValueError(f"{len(layers)} layers have too many settings to try all: search (models.exits.setting.best)")
    judge = Judge(layers, observed, target, most)
    places = range(layers.last)
    for exits in chain.from_iterable(combinations(places, count) for count in range(min(judge.most, layers.last) + 1)):
        judge.judge(exits)
    return judge.best()
