"""Whether what a plan asks of this device is something that the model has. Pure."""

from __future__ import annotations

from models.rows.chain import RowsError
from models.rows.specs import band_input, band_output
from schemas.model import ModelCard
from services.worker.assignments import Assignment


class PlanMismatchError(Exception):
    """A plan that names blocks, rows or exits which its card does not have, or more stages than this device takes."""


def check_against(card: ModelCard, one: Assignment) -> None:
    """Compare one stage of a plan with the card of its model.

    Raises:
        PlanMismatchError: blocks, rows or exits that the model does not have; says what it has.
    """
    wanted = one.slice
    if wanted.last > len(card.blocks):
        raise PlanMismatchError(
            f"the plan names blocks [{wanted.first}:{wanted.last}) of {card.name}, which has {len(card.blocks)}"
        )
    _check_rows(one, card)
    _check_exits(one, card)


def _check_rows(one: Assignment, card: ModelCard) -> None:
    """Whether the rows that a plan divides are there, and the bands that are joined are all of them."""
    try:
        if one.slice.rows:
            band_input(card, one.slice.rows.takes)
            band_output(card, one.slice.last, one.slice.rows.gives)
        whole = band_output(card, one.slice.first, (0, one.joins[-1][1])) if one.joins else None
    except RowsError as error:
        raise PlanMismatchError(f"the plan divides rows of {card.name} that it does not have: {error}") from error
    if whole is not None and whole not in card.cuts[one.slice.first].tensors:
        raise PlanMismatchError(f"the plan's bands give {whole}; {card.cuts[one.slice.first].tensors[0]} is needed")


def _check_exits(one: Assignment, card: ModelCard) -> None:
    """Whether the exits that a plan opens are where the card has them."""
    there = {(known.name, known.block) for known in card.exits}
    for rule in one.exits:
        if (rule.name, rule.block) not in there:
            have = ", ".join(f"{name} after block {block}" for name, block in sorted(there)) or "none"
            raise PlanMismatchError(
                f"the plan opens exit {rule.name} after block {rule.block} of {card.name}, whose exits are: {have}"
            )
