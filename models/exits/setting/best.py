"""The exits to keep open for an accuracy: every search, seeded by what is exact under a simpler view."""

from __future__ import annotations

import numpy as np

from models.exits.setting.ants import ant_colony
from models.exits.setting.beam import beam_search
from models.exits.setting.interval import interval_exits
from models.exits.setting.layers import Layers
from models.exits.setting.nested import nested_exits
from models.exits.setting.observed import Observed
from models.exits.setting.setting import Judge, Setting


def best_exits(layers: Layers, observed: Observed, target: float, rng: np.random.Generator) -> Setting:
    """The setting of least expected FLOPs that was found among those that reach the accuracy.

    Exact where exits are nested and the target asks for nothing (the seed is); else as good as beam and ants together,
    and never worse than the nested or SPINN's exits where those reach the target.

    Args:
        layers: the network.
        observed: validation data at all exits.
        target: accuracy to reach, 0..1; 0 where only FLOPs matter.
        rng: where the ants' choices come from.

    Raises:
        BadObservationsError: observations of another network.
        UnreachableAccuracyError: nothing that was found is accurate enough.
        ValueError: the target is not within 0..1.
    """
    judge = Judge(layers, observed, target)
    seeds = (nested_exits(layers, observed.able), interval_exits(layers))
    found = beam_search(judge, seeds)
    return ant_colony(judge, (*seeds, found.exits), rng)
