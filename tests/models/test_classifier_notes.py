"""What an .onnx file says of pictures and classes in its metadata."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from multi_exit_graphs import CLASSES, SIZE, multi_exit_model

from models.classifier_notes import LABELS_KEY, PICTURE_KEY, BadNotesError, read_notes, write_notes
from models.importer import import_model
from models.library import Library
from models.normalise import PictureInput
from schemas.model import Preprocess

PICTURE = PictureInput(resize=10, crop=SIZE, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1))
LABELS = tuple(f"class {n}" for n in range(CLASSES))


def test_a_file_that_says_how_it_takes_pictures_is_imported_like_a_named_model(tmp_path: Path) -> None:
    model = multi_exit_model()
    write_notes(model, PICTURE, LABELS)
    write_notes(model, PICTURE, LABELS)
    assert read_notes(model) == (PICTURE, LABELS)
    onnx.save(model, tmp_path / "net.onnx")
    card = import_model(str(tmp_path / "net.onnx"), Library(tmp_path / "library"))
    assert card.preprocess == Preprocess(resize=10, crop=SIZE)
    assert card.labels == LABELS
    assert [str(spec) for spec in card.inputs] == [f"picture uint8[1x{SIZE}x{SIZE}x3]"]
    assert card.blocks[0].label == "normalise"
    assert len(card.exits) == 2


def test_a_file_that_says_nothing_stays_as_it_is() -> None:
    assert read_notes(multi_exit_model()) == (None, ())


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (PICTURE_KEY, "{}"),
        (PICTURE_KEY, "no json"),
        (PICTURE_KEY, '{"resize": 10, "crop": 9, "mean": [0, 0, 0], "std": [1, 1, 1]}'),
        (PICTURE_KEY, '{"resize": 10, "crop": 8, "mean": [0, 0], "std": [1, 1, 1]}'),
        (PICTURE_KEY, '{"resize": 10, "crop": 8, "mean": [0, 0, 0], "std": [1, 1, 0]}'),
        (PICTURE_KEY, '{"resize": 1000000, "crop": 8, "mean": [0, 0, 0], "std": [1, 1, 1]}'),
        (LABELS_KEY, '["a", 1]'),
        (LABELS_KEY, '{"a": "b"}'),
        (LABELS_KEY, " " * 5_000_000),
    ],
)
def test_metadata_that_is_something_else_is_refused(key: str, text: str) -> None:
    model = multi_exit_model()
    model.metadata_props.add(key=key, value=text)
    with pytest.raises(BadNotesError, match=key):
        read_notes(model)
