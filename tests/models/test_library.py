"""The hub's models: cards and the blobs they name."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from models.library import Library, MissingBlobError, NotInLibraryError
from schemas.base import InvalidNameError
from schemas.model import ModelCard


@pytest.fixture
def own(tmp_path: Path, tiny_library: tuple[Library, ModelCard]) -> tuple[Library, ModelCard]:
    """A library of this test's own, with the hand-made model's blobs and no card yet."""
    library, card = tiny_library
    copy = Library(tmp_path / "library")
    for blob in (card.graph, *card.blobs):
        copy.blobs.add(library.blobs.read(blob.sha256))
    return copy, card


def test_a_saved_card_comes_back_as_it_was(own: tuple[Library, ModelCard]) -> None:
    library, card = own
    library.save(card)
    assert library.card(card.name) == card
    assert library.card(card.name).sha256 == card.sha256
    assert Library(library.root).cards() == {card.name: card}


def test_an_empty_library_has_no_cards_and_says_how_to_get_one(tmp_path: Path) -> None:
    library = Library(tmp_path / "not there yet")
    assert library.cards() == {}
    with pytest.raises(NotInLibraryError, match=r"it is empty.*stageline import"):
        library.card("resnet18")


def test_a_missing_model_is_answered_with_those_that_are_there(own: tuple[Library, ModelCard]) -> None:
    library, card = own
    library.save(card)
    with pytest.raises(NotInLibraryError, match=f"it has {card.name}"):
        library.card("resnet18")


def test_a_card_is_not_saved_before_its_blobs(tmp_path: Path, tiny: ModelCard) -> None:
    with pytest.raises(MissingBlobError):
        Library(tmp_path).save(tiny)


def test_a_name_that_leaves_the_folder_is_refused(own: tuple[Library, ModelCard]) -> None:
    library, card = own
    with pytest.raises(InvalidNameError):
        library.save(card.model_copy(update={"name": "../card"}))


def test_a_damaged_card_is_logged_and_the_others_are_served(
    own: tuple[Library, ModelCard], caplog: pytest.LogCaptureFixture
) -> None:
    library, card = own
    library.save(card)
    (library.cards_folder / "broken.json").write_text('{"version": 1}')
    with caplog.at_level(logging.WARNING):
        assert set(library.cards()) == {card.name}
    assert "broken.json" in caplog.text


def test_removing_a_model_keeps_the_blobs_that_others_share(own: tuple[Library, ModelCard]) -> None:
    library, card = own
    library.save(card)
    library.save(card.model_copy(update={"name": "twin"}))
    library.remove(card.name)
    assert set(library.cards()) == {"twin"}
    assert library.blobs.has(card.graph.sha256)
    library.remove("twin")
    assert library.blobs.total_bytes() == 0
