"""The cheapest exits where they are nested: who could leave at one could leave at every later one, too. Exact."""

from __future__ import annotations

import math
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


def nested_exits(layers: Layers, able: Sequence[float], most: int | None = None) -> tuple[int, ...]:
    """The setting of least expected FLOPs, by dynamic programming over the exit that comes next.

    `g(k, n) = min over j < k of g(j, n - 1) + (1 - able[j]) * (layers j+1..k + exit k)`, with n the exits before k; of
    equal ways the longer step.

    Args:
        layers: the network.
        able: as in `nested_flops`.
        most: exits at most; as many as pay when not given.

    Raises:
        BadLayersError: shares do not fit the network.
        ValueError: fewer than no exits.
    """
    _check(layers, able)
    rounds = layers.last if most is None else min(most, layers.last)
    if rounds < 0:
        raise ValueError(f"{most} exits at most: give 0 or more")
    until = [0.0, *accumulate(layers.flops)]
    # Per layer, the cheapest way to an exit behind it with so many exits before, and that way backwards.
    direct = [until[place + 1] + layers.exit_flops[place] for place in range(len(layers))]
    ways: list[tuple[float, tuple[int, ...]]] = [(cost, ()) for cost in direct]
    best = ways[layers.last]
    for _ in range(rounds):
        ways = [
            min(
                (
                    (
                        cost + (1 - able[one]) * (until[place + 1] - until[one + 1] + layers.exit_flops[place]),
                        (one, *way),
                    )
                    for one, (cost, way) in enumerate(ways[:place])
                ),
                default=(math.inf, ()),
            )
            for place in range(len(layers))
        ]
        best = min(best, ways[layers.last])
    return tuple(reversed(best[1]))


def _check(layers: Layers, able: Sequence[float]) -> None:
    if len(able) != len(layers):
        raise BadLayersError(f"{len(able)} shares for {len(layers)} layers: give one for each")
    early = able[: layers.last]
    if any(not 0 <= share <= 1 for share in early) or any(later < earlier for earlier, later in pairwise(early)):
        raise BadLayersError(f"shares of who can leave by then must not fall and be within 0..1, not {tuple(able)}")
