"""A folder of a training run: its ONNX file answers as the network did, its card is true, thresholds can be changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_classifier import easy_pictures, write_factories, write_jpegs

from models.exits.attaching import Wish, default_name, train_exits
from models.exits.calibrated import Target, calibrate
from models.exits.calibration import BadThresholdsError, UnreachableAccuracyError, evaluate
from models.exits.card_files import CARD, BadCardError, read_card
from models.exits.confidence import confidence
from models.exits.declared import read_declared
from models.exits.examples import BadDataError, split
from models.exits.measured import BadMeasurementError, Measured
from models.exits.picture_arrays import read_npz
from models.exits.recipe import BadRecipeError, Recipe
from models.exits.training_card import TrainingCard
from models.importer import import_model
from models.library import Library
from models.runtime import load_stage
from schemas.base import InvalidNameError

RECIPE = Recipe(epochs=14, batch=16, mirror=False, seed=3)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_factories(folder)
    write_jpegs(folder / "data.npz", easy_pictures(400))
    return folder


@pytest.fixture(scope="module")
def done(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done") / "exits"
    wish = Wish(
        f"{inputs / 'tiny_nets.py'}:tiny", f"npz:{inputs / 'data.npz'}", at="auto:2", name="tiny-exits", head_width=16
    )
    train_exits(folder, wish, RECIPE)
    return folder


@pytest.fixture
def folder(done: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    shutil.copytree(done, tmp_path / "exits")
    return tmp_path / "exits"


def test_the_card_says_what_was_trained_and_what_each_exit_is_worth(done: Path) -> None:
    card = read_card(done)
    assert (card.name, card.recipe, len(card.course)) == ("tiny-exits", RECIPE, 14)
    assert (card.examples.train, card.examples.validation, card.examples.test) == (270, 30, 100)
    assert [one.name for one in card.exits] == ["exit1", "exit2"]
    assert card.accuracy > 0.8
    assert len(card.points) > 3
    assert card.chosen is not None
    assert card.chosen.accuracy >= card.accuracy - 0.01 - 1e-9
    assert card.chosen.macs <= max(one.macs for one in card.points) + 1e-9
    validation = Measured.load(done / "validation.npz")
    assert evaluate(validation, card.work, card.chosen.thresholds).shares == card.chosen.shares
    assert [one.probability for one in card.exits] == list(card.chosen.shares)
    test = evaluate(Measured.load(done / "test.npz"), card.work, card.chosen.thresholds)
    assert test.accuracy == card.accuracy_chosen_test
    page = (done / "card.md").read_text(encoding="utf-8")
    assert "| exit1 |" in page
    assert "14 epochs, batch 16, learning rate 0.05, seed 3, on cpu" in page
    assert "stageline import tiny-exits.onnx" in page


def test_the_file_imports_with_its_exits_and_answers_as_was_measured(done: Path, inputs: Path, tmp_path: Path) -> None:
    card = read_card(done)
    library = Library(tmp_path)
    imported = import_model(str(done / card.onnx), library, name="tiny-exits")
    assert [(one.name, one.block, one.threshold, one.macs) for one in imported.exits] == [
        (one.name, one.block, one.threshold, one.macs_head) for one in card.exits
    ]
    assert [point.accuracy for point in imported.operating_points] == [point.accuracy for point in card.points]
    assert imported.preprocess is not None
    assert [block.label for block in imported.blocks] == ["normalise", "Conv 0.0", "Conv 1.0", "Conv 2.0", "Gemm 5"]
    assert imported.labels == tuple(f"c{n}" for n in range(10))
    data = read_npz(inputs / "data.npz")
    rows = split(data, RECIPE.seed).validation
    measured = Measured.load(done / "validation.npz")
    whole = load_stage(imported, library.blobs, 0, len(imported.blocks))
    for place, row in enumerate(rows[:10]):
        [logits] = whole.run({imported.inputs[0].name: data.inputs[row][np.newaxis]}).values()
        assert confidence(logits) == pytest.approx(float(measured.confidence[place, -1]), abs=1e-3)
        assert (int(logits.argmax()) == data.labels[row]) == measured.correct[place, -1]


def test_thresholds_can_be_chosen_again_for_another_accuracy(folder: Path) -> None:
    before = read_card(folder)
    after = calibrate(folder, Target(accuracy_min=before.points[0].accuracy))
    assert after.chosen == before.points[0]
    assert read_card(folder) == after
    declared = read_declared(onnx.load(folder / after.onnx))
    assert [one.threshold for one in declared.exits] == list(before.points[0].thresholds)
    assert len(declared.points) == len(after.points)
    assert after.weights_sha256 == before.weights_sha256


def test_thresholds_can_be_given_and_exits_that_are_not_named_close(folder: Path) -> None:
    card = calibrate(folder, Target(thresholds={"exit2": 0.25}))
    assert [one.threshold for one in card.exits] == [1.0, 0.25]
    assert card.exits[0].probability == 0
    assert card.accuracy_min is None


@pytest.mark.parametrize(
    ("thresholds", "says"),
    [({"exit1": 1.5}, "from 0"), ({"exit1": float("nan")}, "from 0"), ({"exit9": 0.5}, "there are exit1, exit2")],
)
def test_thresholds_that_cannot_be_are_refused_and_change_nothing(
    thresholds: dict[str, float], says: str, folder: Path
) -> None:
    before = (folder / CARD).read_bytes()
    with pytest.raises(BadThresholdsError, match=says):
        calibrate(folder, Target(thresholds=thresholds))
    assert (folder / CARD).read_bytes() == before


def test_an_accuracy_that_nothing_reaches_is_refused(folder: Path) -> None:
    with pytest.raises(BadThresholdsError, match="from 0 to 1"):
        Target(accuracy_min=1.5)
    with pytest.raises(BadThresholdsError, match="one of these"):
        Target(accuracy_min=0.9, drop=0.1)
    wrong = Measured.load(folder / "validation.npz")
    Measured(wrong.confidence, np.zeros_like(wrong.correct)).save(folder / "validation.npz")
    with pytest.raises(UnreachableAccuracyError, match=r"best is 0\.0000"):
        calibrate(folder, Target(accuracy_min=0.9))


def test_a_folder_that_is_no_training_run_or_a_damaged_one_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadCardError, match="stageline exits train"):
        calibrate(tmp_path, Target(drop=0.1))
    other = Measured(np.full((3, 2), 0.5, np.float32), np.ones((3, 2), bool))
    other.save(folder / "validation.npz")
    with pytest.raises(BadMeasurementError, match="of 1 exits"):
        calibrate(folder, Target(drop=0.1))
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    (folder / CARD).write_text(json.dumps({**card, "onnx": "../elsewhere.onnx"}), encoding="utf-8")
    with pytest.raises(BadCardError, match="beside the card"):
        read_card(folder)


def test_a_closed_exit_has_a_dash_among_verdicts_and_figures_of_being_right(folder: Path) -> None:
    card = calibrate(folder, Target(thresholds={"exit2": 0.25}))
    assert card.correlation[0] == (None, None)
    assert json.loads((folder / CARD).read_text(encoding="utf-8"))["correlation"][0] == [None, None]
    page = (folder / "card.md").read_text(encoding="utf-8")
    assert "| exit1 | - | - |" in page
    assert len(card.correctness_correlation) == 3
    cells = " | ".join("-" if one is None else f"{one:.2f}" for one in card.correctness_correlation[0])
    assert f"| exit1 | {cells} |" in page
    old = {**card.model_dump(mode="json"), "correlation": [[1.0, 0.0], [0.0, 1.0]]}
    del old["correctness_correlation"]
    assert TrainingCard.model_validate_json(json.dumps(old)).correctness_correlation == ()


def test_a_card_is_written_and_read_without_loss(done: Path) -> None:
    card = read_card(done)
    assert TrainingCard.model_validate_json(card.model_dump_json()) == card


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"data": "npz:nowhere.npz"}, BadDataError, "cannot be read"),
        ({"data": "pictures"}, BadDataError, "folder:DIR"),
        ({"source": "plain"}, BadDataError, "how a picture becomes its input"),
        ({"name": "no/name"}, InvalidNameError, "cannot name a model"),
        ({"device": "tpu"}, BadRecipeError, "cpu or cuda"),
    ],
)
def test_what_cannot_be_trained_is_told_before_it_takes_long(
    changes: dict[str, str], error: type[Exception], says: str, inputs: Path, tmp_path: Path
) -> None:
    given = {"source": "tiny", "data": f"npz:{inputs / 'data.npz'}", **changes}
    given["source"] = f"{inputs / 'tiny_nets.py'}:{given['source']}"
    with pytest.raises(error, match=says):
        train_exits(tmp_path / "out", Wish(**given), RECIPE)  # type: ignore[arg-type]


def test_examples_of_the_wrong_shape_are_refused(inputs: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "flat.npz", inputs=np.zeros((200, 12), np.float32), labels=np.arange(200) % 10)
    wish = Wish(f"{inputs / 'tiny_nets.py'}:plain", f"npz:{tmp_path / 'flat.npz'}")
    with pytest.raises(BadDataError, match=r"an example is \[12\], and the network takes \[3, 8, 8\]"):
        train_exits(tmp_path / "out", wish, RECIPE)


@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8, 3)])
def test_pictures_in_arrays_are_bytes_with_channels_last(shape: tuple[int, ...], inputs: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "floats.npz", inputs=np.zeros((200, *shape), np.float32), labels=np.arange(200) % 10)
    wish = Wish(f"{inputs / 'tiny_nets.py'}:tiny", f"npz:{tmp_path / 'floats.npz'}")
    with pytest.raises(BadDataError, match=r"float32 \[n, .*takes pictures: give them as uint8 \[n, height"):
        train_exits(tmp_path / "out", wish, RECIPE)


@pytest.mark.parametrize(
    ("source", "name"),
    [("resnet18", "resnet18-exits"), ("a/nets.py:make_it", "make_it-exits"), ("ä:ö", "model-exits")],
)
def test_a_model_with_exits_is_called_after_its_backbone(source: str, name: str) -> None:
    assert default_name(source) == name
