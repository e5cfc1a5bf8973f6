"""The two ways in which the paper sets exits, from what its tables say of each device."""

from __future__ import annotations

from functools import cache
from itertools import accumulate

import numpy as np

from bench.study.devices import Device
from models.exits.setting.ants import ant_colony
from models.exits.setting.layers import Layers
from models.exits.setting.nested import nested_exits
from models.exits.setting.observed import Observed
from models.exits.setting.setting import Judge


@cache
def colony_exits(layers: Layers, device: Device, seed: int) -> tuple[int, ...]:
    """ACO's exits [R]: the ant colony, seeded by what is exact where exits are nested.

    The tables give only how many requests leave at each exit, so here exits are nested: whoever could leave at one
    could leave at all later ones, and leaves at the next one where it is closed. The seed is then the best there is,
    and what the colony adds is that it finds nothing better. The tables give no accuracies: the target is none.
    """
    depths = np.repeat(np.arange(len(layers)), device.printed)
    confident = np.arange(len(layers)) >= depths[:, None]
    observed = Observed(confident, np.ones_like(confident))
    judge = Judge(layers, observed, target=0.0)
    return ant_colony(judge, [nested_exits(layers, observed.able)], np.random.default_rng(seed)).exits


def remaining(layers: Layers, device: Device, exits: tuple[int, ...]) -> tuple[float, ...]:
    """mu: the share of requests that run each layer, and 0 for what would come behind the last one.

    Args:
        layers: the network.
        device: whose requests.
        exits: which early exits are open.
    """
    able = list(accumulate(device.leaves))
    runs, left = [], 0.0
    for place in range(len(layers)):
        runs.append(1 - left)
        left = able[place] if place in exits else left
    return (*runs, 0.0)
