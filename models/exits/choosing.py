"""Which of the possible places get an exit: those that somebody names, or spread over the work. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Protocol, TypeVar

from models.exits.setting.interval import interval_exits
from models.exits.setting.layers import Layers

AUTO: Final = "auto"
LEAST_BEHIND: Final = 0.005
"""Of the work: less than this is a last layer on pooled features, and the head of an exit would be no smaller."""
_USUAL: Final = 3
_MOST: Final = 32


class BadPlacesError(ValueError):
    """Places that cannot have an exit; the message lists those that can."""


class Candidate(Protocol):
    """A place for an exit; `models.exits.cut_places.Place` is one."""

    @property
    def block(self) -> int:
        """The exit is evaluated once this block is done."""
        ...

    @property
    def macs(self) -> int:
        """Of the backbone up to there."""
        ...


C = TypeVar("C", bound=Candidate)


def saving(places: Sequence[C], whole: int) -> tuple[C, ...]:
    """Those of `places` where an exit can save work: at least LEAST_BEHIND of the `whole` lies behind them."""
    return tuple(one for one in places if whole - one.macs >= LEAST_BEHIND * whole)


def choose_places(text: str, places: Sequence[Candidate], whole: int) -> tuple[int, ...]:
    """Positions in `places`, ascending.

    Args:
        text: `2,5` names blocks; `auto:N` spreads N exits evenly over the work (SPINN, Laskaridis et al., MobiCom
            2020); `auto` is `auto:3`.
        places: those that are possible, in order.
        whole: multiply-accumulates of the whole backbone.

    Raises:
        BadPlacesError: not of that form, a block after which no exit is possible, or no place at all.
    """
    if not places:
        raise BadPlacesError(
            "this model has no place for an exit: between its blocks never just one float tensor crosses that is the "
            "output of a submodule which runs once; build it of submodules"
        )
    kind, _, count = text.partition(":")
    if kind.strip().lower() == AUTO:
        return _spread(_number(count, text) if count else _USUAL, places, whole)
    by_block = {one.block: position for position, one in enumerate(places)}
    chosen = set()
    for part in text.split(","):
        block = _number(part, text, least=0)
        if block not in by_block:
            raise BadPlacesError(
                f"block {block} is at no legal cut for an exit: exits can stand after "
                f"{'block' if len(by_block) == 1 else 'blocks'} {', '.join(map(str, by_block))}"
            )
        chosen.add(by_block[block])
    return tuple(sorted(chosen))


def _spread(count: int, places: Sequence[Candidate], whole: int) -> tuple[int, ...]:
    ends = [0, *(one.macs for one in places), whole]
    # One stretch more than exits: the last one is the network's own end.
    steps = tuple(float(later - earlier) for earlier, later in pairwise(ends))
    layers = Layers(steps, (0.0,) * len(steps))
    return interval_exits(layers, 1 / (count + 1))


def _number(text: str, whole: str, least: int = 1) -> int:
    stripped = text.strip()
    if not stripped.isdecimal() or not least <= int(stripped) <= (_MOST if least else 10**6):
        raise BadPlacesError(
            f"--at {whole}: write the numbers of blocks, like 2,5; or {AUTO}:N for 1 to {_MOST} exits spread evenly "
            "over the work"
        )
    return int(stripped)
