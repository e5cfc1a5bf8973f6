"""The models a hub can serve: a folder of cards, and the blobs they name."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import ValidationError

from models.blobs import BlobStore, MissingBlobError, WrongHashError
from models.durable import StoreFullError, write_file
from models.partial import PartialBlob
from schemas.base import check_name
from schemas.model import ModelCard

__all__ = [
    "BlobStore",
    "Library",
    "MissingBlobError",
    "NotInLibraryError",
    "PartialBlob",
    "StoreFullError",
    "WrongHashError",
]

_log = logging.getLogger(__name__)


class NotInLibraryError(LookupError):
    """No such model in the library; lists those that are there."""

    def __init__(self, name: str, there: list[str]) -> None:
        have = f"it has {', '.join(there)}" if there else "it is empty"
        super().__init__(f"no model {name!r} in the library ({have}): import it first with 'stageline import'")


class Library:
    """`<root>/cards/<name>.json` and `<root>/blobs/`. Several processes may read while one imports."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = BlobStore(root / "blobs")

    @property
    def cards_folder(self) -> Path:
        """Changes when a model is added or removed."""
        return self.root / "cards"

    def cards(self) -> dict[str, ModelCard]:
        """Every readable card by name; one that cannot be read is logged and left out."""
        found: dict[str, ModelCard] = {}
        for path in sorted(self.cards_folder.glob("*.json")):
            try:
                card = ModelCard.model_validate_json(path.read_bytes())
            except (ValidationError, OSError) as error:
                _log.warning("card %s cannot be read (%s); import the model again", path, error)
                continue
            found[card.name] = card
        return found

    def card(self, name: str) -> ModelCard:
        """The card of one model.

        Raises:
            NotInLibraryError: it was never imported, or its card is damaged.
        """
        cards = self.cards()
        if name not in cards:
            raise NotInLibraryError(name, list(cards))
        return cards[name]

    def save(self, card: ModelCard) -> None:
        """Add or replace a card. Its blobs come first, so that whoever sees the card can have them.

        Raises:
            MissingBlobError: one of its blobs is not here.
        """
        for blob in (card.graph, *card.blobs):
            if not self.blobs.has(blob.sha256):
                raise MissingBlobError(blob.sha256, self.blobs.root)
        path = self.cards_folder / f"{check_name('model', card.name)}.json"
        write_file(path, card.model_dump_json(indent=1).encode())

    def remove(self, name: str) -> None:
        """Remove a card and the blobs that no other card names.

        Raises:
            NotInLibraryError: there is no such model.
        """
        card = self.card(name)
        (self.cards_folder / f"{name}.json").unlink(missing_ok=True)
        kept = {blob.sha256 for other in self.cards().values() for blob in (other.graph, *other.blobs)}
        for blob in (card.graph, *card.blobs):
            if blob.sha256 not in kept:
                self.blobs.remove(blob.sha256)
