"""A beam search: the best settings so far, with an exit more, one less, or one elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from models.exits.setting.setting import Judge, Setting


def beam_search(judge: Judge, seeds: Iterable[tuple[int, ...]], width: int = 8) -> Setting:
    """The best setting found; never worse than the best seed, nor than no early exit at all.

    Ends when no neighbour of the `width` best settings is among the best any more: with `width` 1 it climbs.

    Args:
        judge: of the network, its observations and the target.
        seeds: settings to begin with.
        width: how many settings are kept.

    Raises:
        UnreachableAccuracyError: nothing that was found reaches the target.
    """
    beam = sorted({judge.judge(exits) for exits in (*seeds, ())}, key=judge.rank)[:width]
    expanded: set[tuple[int, ...]] = set()
    while any(setting.exits not in expanded for setting in beam):
        near = {judge.judge(exits) for setting in beam for exits in _neighbours(setting.exits, judge.layers.last)}
        expanded.update(setting.exits for setting in beam)
        beam = sorted(near.union(beam), key=judge.rank)[:width]
    return judge.best()


def _neighbours(exits: tuple[int, ...], last: int) -> Iterator[tuple[int, ...]]:
    closed = [place for place in range(last) if place not in exits]
    for place in closed:
        yield tuple(sorted((*exits, place)))
    for gone in exits:
        rest = tuple(place for place in exits if place != gone)
        yield rest
        for place in closed:
            yield tuple(sorted((*rest, place)))
