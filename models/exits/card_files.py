"""The files of a training run: the card, a page for people beside it, and what exits say of examples."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import ValidationError

from models.durable import write_file
from models.exits.card_page import page
from models.exits.training_card import TrainingCard
from schemas.base import first_mistake

CARD: Final = "card.json"
PAGE: Final = "card.md"
VALIDATION: Final = "validation.npz"
TEST: Final = "test.npz"


class BadCardError(ValueError):
    """A folder without a training card, or with a damaged one; says what to do."""


def read_card(folder: Path) -> TrainingCard:
    """The card in a folder that `stageline exits train` wrote.

    Raises:
        BadCardError: there is none, or it is damaged.
    """
    path = folder / CARD
    try:
        return TrainingCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadCardError(
            f"{path} cannot be read ({error.strerror}); name a folder that 'stageline exits train' wrote"
        ) from error
    except ValidationError as error:
        raise BadCardError(f"{path} is no training card ({first_mistake(error)}); train again") from error


def write_card(folder: Path, card: TrainingCard) -> None:
    """Put the card and its page into a folder, in the place of any others.

    Raises:
        models.durable.StoreFullError: no room.
    """
    write_file(folder / CARD, (card.model_dump_json(indent=2) + "\n").encode())
    write_file(folder / PAGE, page(card).encode())
