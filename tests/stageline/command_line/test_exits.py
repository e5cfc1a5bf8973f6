"""`exits`: from a network to one that answers early, by commands alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_classifier import easy_pictures, write_factories, write_folders
from typer.testing import CliRunner

from models.exits.card_files import read_card
from stageline.cli import app
from stageline.commands.exits_show import too_dear

runner = CliRunner()


def run(*arguments: object) -> Any:
    return runner.invoke(app, [str(one) for one in arguments], prog_name="stageline")


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_factories(tmp_path_factory.mktemp("nets"))


@pytest.fixture(scope="module")
def trained(nets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heads for a network that is left as it is, from digits that come in a package."""
    folder = tmp_path_factory.mktemp("digits")
    result = run(
        "exits", "train", f"{nets}:tiny", "--data", "digits", "--at", "auto:1", "--heads-only", "--epochs", 2,
        "--no-mirror", "--name", "digits", "--out", folder / "exits", "--json", folder / "card.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "1 exits, after blocks" in result.stderr
    assert "Thresholds worth having" in result.stdout
    assert json.loads((folder / "card.json").read_text()) == read_card(folder / "exits").model_dump(mode="json")
    return folder / "exits"


def test_exits_alone_says_which_commands_there_are() -> None:
    result = run("exits")
    assert result.exit_code == 0
    for command in ("show", "train", "calibrate"):
        assert f"stageline exits {command}" in result.stdout


def test_show_lists_the_blocks_behind_which_an_exit_may_stand_and_tells_of_those_where_it_would_save_nothing(
    nets: Path, tmp_path: Path
) -> None:
    result = run("exits", "show", f"{nets}:tiny", "--json", tmp_path / "places.json")
    assert result.exit_code == 0, result.output
    assert "after block" in result.stdout
    assert "--at 1,2 " in result.stdout
    document = json.loads((tmp_path / "places.json").read_text())
    assert [one["block"] for one in document] == [1, 2]
    # Behind the pooled features lies a layer of 160 multiply-accumulates.
    [line] = [one for one in result.stdout.splitlines() if one.startswith("Left out")]
    assert line == "Left out: block 3, with less than 0.5% of the work behind; an exit there would save nothing."


def test_an_exit_whose_head_is_more_work_than_what_it_saves_is_told(trained: Path) -> None:
    card = read_card(trained)
    [one] = card.exits
    left = card.macs - one.macs_before
    dear = card.model_copy(update={"exits": (one.model_copy(update={"macs_head": left}),)})
    [line] = too_dear(dear)
    assert line.startswith("exit1 saves nothing: its head is ")
    assert "smaller --head-width" in line
    assert too_dear(card.model_copy(update={"exits": (one.model_copy(update={"macs_head": left - 1}),)})) == []


def test_training_digits_writes_a_folder_that_imports(trained: Path, tmp_path: Path) -> None:
    card = read_card(trained)
    assert card.data == "digits"
    assert card.recipe.frozen
    assert card.examples.train + card.examples.validation + card.examples.test == 1797
    assert run("exits", "show", trained).exit_code == 0
    result = run("import", trained / "digits.onnx", "--library", tmp_path / "library")
    assert result.exit_code == 0, result.output
    assert "takes picture uint8[1x8x8x3]" in result.stdout


def test_calibrating_again_changes_thresholds_and_says_what_they_lead_to(trained: Path) -> None:
    result = run("exits", "calibrate", trained, "--threshold", "exit1=0.5", "--json", "-")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["exits"][0]["threshold"] == 0.5
    result = run("exits", "calibrate", trained, "--loss", 0.05)
    assert result.exit_code == 0, result.output
    assert "of the answers are right" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--threshold", "exit1=2"], "--threshold exit1=2: write EXIT=SHARE, from 0 to 1"),
        (["--threshold", "exit1"], "write EXIT=SHARE"),
        (["--threshold", "exit1=0.5", "--threshold", "exit1=0.6"], "exit1 is given twice"),
        (["--threshold", "exit9=0.5"], "there is no exit 'exit9'"),
        (["--accuracy-min", "90"], "write a share from 0 to 1"),
        (["--accuracy-min", "1"], "no thresholds reach an accuracy of 1.0000"),
        (["--accuracy-min", "0.5", "--loss", "0.1"], "one of these"),
    ],
)
def test_thresholds_that_cannot_be_are_told_in_one_line(arguments: list[str], says: str, trained: Path) -> None:
    result = run("exits", "calibrate", trained, *arguments)
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert says in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "digits", "--at", "77"], "no legal cut for an exit: exits can stand after blocks 1, 2, 3"),
        (["--data", "folder:nowhere"], "there is no folder nowhere"),
        (["--data", "oxen"], "no data 'oxen'"),
        (["--data", "digits", "--epochs", "0"], "epochs 0"),
        (["--data", "digits", "--seed", "-5"], "'--seed': Input should be greater than or equal to 0"),
        (["--data", "digits", "--shift", "5"], "shift 5: pictures of 8 pixels may be moved by 4 at most"),
        (["--data", "digits", "--input-shape", "3x8"], "1x3xHEIGHTxWIDTH, like 1x3x32x32, not 3x8"),
        (["--data", "digits", "--learning-rate", "-1"], "learning rate"),
        (["--data", "digits", "--loss-weights", "a,b"], "--loss-weights a,b"),
        (["--data", "digits", "--accuracy-min", "7"], "--accuracy-min 7"),
        (["--data", "digits", "--weights", "good"], "write default or random"),
        (["--data", "torchvision:NoSuchData:there"], "no data set 'NoSuchData'"),
        (["--data", "torchvision:CIFAR10:there"], "--download fetches it"),
    ],
)
def test_what_cannot_be_trained_is_told_in_one_line(
    arguments: list[str], says: str, nets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("exits", "train", f"{nets}:tiny", "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2, result.output
    assert says in " ".join(result.stderr.split())


@pytest.mark.parametrize("before", [False, True])
def test_an_interruption_is_told_and_leaves_the_folder_as_it_was(
    before: bool, nets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("models.exits.attaching.train", stopped)
    out = tmp_path / "out"
    if before:
        out.mkdir()
        (out / "card.json").write_text("of another training")
    result = run("exits", "train", f"{nets}:tiny", "--data", "digits", "--out", out)
    assert result.exit_code == 130, result.output
    assert "interrupted; nothing was written" in result.stderr
    assert ("holds another result: this one will take its place" in result.stderr) == before
    assert [path.name for path in tmp_path.rglob("*")] == (["out", "card.json"] if before else [])


def test_heads_alone_are_refused_for_classes_that_the_network_does_not_know(nets: Path, tmp_path: Path) -> None:
    write_folders(tmp_path / "pictures", easy_pictures(90, 3))
    result = run(
        "exits", "train", f"{nets}:five", "--data", f"folder:{tmp_path / 'pictures'}", "--heads-only", "--out",
        tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 2
    assert "the network answers 5 classes and the data has 3" in result.stderr


def test_arrays_of_another_shape_than_the_network_takes_are_told(nets: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "flat.npz", inputs=np.zeros((200, 12), np.float32), labels=np.arange(200) % 10)
    result = run("exits", "train", f"{nets}:plain", "--data", f"npz:{tmp_path / 'flat.npz'}", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "an example is [12], and the network takes [3, 8, 8]" in result.stderr


def test_a_folder_without_a_training_card_is_told(tmp_path: Path) -> None:
    for command in (["exits", "show", tmp_path], ["exits", "calibrate", tmp_path]):
        result = run(*command)
        assert result.exit_code == 2
        assert "name a folder that 'stageline exits train' wrote" in result.stderr
