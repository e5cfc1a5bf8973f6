"""The network for CIFAR-10 that comes with Stageline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.catalog import PACKAGED, resolve
from models.exits.calibration import evaluate
from models.exits.card_files import read_card
from models.exits.measured import Measured
from models.importer import import_model
from models.library import Library
from models.runtime import load_stage

FOLDER = PACKAGED["cifar10-exits"].parent


def test_it_is_small_and_its_card_is_true() -> None:
    card = read_card(FOLDER)
    assert (FOLDER / card.onnx).stat().st_size <= 1_500_000
    assert card.chosen is not None
    assert (
        evaluate(Measured.load(FOLDER / "validation.npz"), card.work, card.chosen.thresholds).macs == card.chosen.macs
    )
    test = evaluate(Measured.load(FOLDER / "test.npz"), card.work, card.chosen.thresholds)
    assert test.accuracy == card.accuracy_chosen_test
    assert test.accuracy > 0.7
    assert card.chosen.macs < 0.75 * card.macs


def test_it_is_imported_by_its_name_without_pytorch_and_answers_pictures(tmp_path: Path) -> None:
    assert resolve("cifar10-exits").kind == "onnx"
    library = Library(tmp_path)
    card = import_model("cifar10-exits", library)
    assert (card.name, card.source, len(card.labels)) == ("cifar10-exits", "cifar10-exits", 10)
    assert [str(spec) for spec in card.inputs] == ["picture uint8[1x32x32x3]"]
    trained = read_card(FOLDER)
    assert [(one.name, one.block, one.threshold) for one in card.exits] == [
        (one.name, one.block, one.threshold) for one in trained.exits
    ]
    assert [point.accuracy for point in card.operating_points] == [point.accuracy for point in trained.points]
    whole = load_stage(card, library.blobs, 0, len(card.blocks))
    [logits] = whole.run({"picture": np.zeros((1, 32, 32, 3), np.uint8)}).values()
    assert logits.shape == (1, 10)


@pytest.mark.parametrize("name", ["cifar10", "cifar10-exit"])
def test_near_names_lead_to_it(name: str) -> None:
    with pytest.raises(LookupError, match="cifar10-exits"):
        resolve(name)
