"""Which of a model's exits lie in a stage, and the segments between them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from models.exits.declared import ExitError
from schemas.model import Exit, ModelCard


@dataclass(frozen=True, slots=True)
class Segment:
    """Blocks `[first, last)` of a stage, computed in one go, and the exit that is evaluated then, if there is one."""

    first: int
    last: int
    exit: Exit | None


def exits_within(card: ModelCard, first: int, last: int, names: Collection[str]) -> tuple[Exit, ...]:
    """Of the exits that are named, those that blocks `[first, last)` evaluate, in the order in which they are met.

    An exit belongs to the stage that holds its block; names of exits elsewhere in the model are left out, so that all
    open exits of a plan may be given for each of its stages.

    Raises:
        ExitError: the model has no such exit.
    """
    if unknown := sorted(set(names) - {one.name for one in card.exits}):
        have = ", ".join(one.name for one in card.exits) or "none"
        raise ExitError(f"{card.name} has no exit {unknown[0]!r}; its exits are: {have}")
    return tuple(one for one in card.exits if one.name in names and first <= one.block < last)


def segments(first: int, last: int, exits: Sequence[Exit]) -> tuple[Segment, ...]:
    """Blocks `[first, last)` divided behind the block of each exit.

    Args:
        first: block.
        last: block.
        exits: what `exits_within` gives for these blocks.
    """
    made: list[Segment] = []
    start = first
    for one in exits:
        made.append(Segment(start, one.block + 1, one))
        start = one.block + 1
    if start < last:
        made.append(Segment(start, last, None))
    return tuple(made)
