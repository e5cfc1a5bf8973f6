"""The cheapest exits where they are nested: who could leave at one could leave at every later one, too. Exact."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from models.exits.setting.layers import BadLayersError, Layers


def nested_flops(layers: Layers, able: Sequence[float], exits: tuple[int, ...]) -> float:
    """Expected FLOPs of a request.

    Args:
        layers: the network.
        able: per layer, the share of requests that could leave behind it or before; the last one counts as 1.
        exits: the setting.

    Raises:
        BadLayersError: shares or exits do not fit the network.
    """
    _check(layers, able)
    layers.check(exits)
    total, begin, left = 0.0, 0, 0.0
    for place in (*exits, layers.last):
        total += (1 - left) * (sum(layers.flops[begin : place + 1]) + layers.exit_flops[place])
        begin, left = place + 1, able[place]
    return total


def nested_exits(layers: Layers, able: Sequence[float]) -> tuple[int, ...]:
    """The setting of least expected FLOPs, by dynamic programming over the exit that comes next.

    `g(k) = min over j < k of g(j) + (1 - able[j]) * (layers j+1..k + exit k)`; of equal ways the longer
    step. Arguments and errors as `nested_flops`.
    """
    _check(layers, able)
    until = [0.0, *accumulate(layers.flops)]
    best: list[float] = []
    before: list[int] = []
    for place in range(len(layers)):
        head = layers.exit_flops[place]
        ways = [(until[place + 1] + head, -1)]
        ways += [
            (best[one] + (1 - able[one]) * (until[place + 1] - until[one + 1] + head), one) for one in range(place)
        ]
        cheapest, came_from = min(ways)
        best.append(cheapest)
        before.append(came_from)
    found: list[int] = []
    place = before[layers.last]
    while place >= 0:
        found.append(place)
        place = before[place]
    return tuple(reversed(found))


def _check(layers: Layers, able: Sequence[float]) -> None:
    if len(able) != len(layers):
        raise BadLayersError(f"{len(able)} shares for {len(layers)} layers: give one for each")
    early = able[: layers.last]
    if any(not 0 <= share <= 1 for share in early) or any(later < earlier for earlier, later in pairwise(early)):
        raise BadLayersError(f"shares of who can leave by then must not fall and be within 0..1, not {tuple(able)}")
