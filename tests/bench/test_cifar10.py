"""The script that trains the shipped network, from a few made-up pictures; and the network that is shipped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_classifier import easy_pictures, write_jpegs
from typer.testing import CliRunner

from bench.cifar10 import app
from bench.cifar10_result import command
from models.exits.card_files import read_card


def test_training_and_finishing_are_two_steps(tmp_path: Path) -> None:
    write_jpegs(tmp_path / "pictures.npz", easy_pictures(160, size=32))
    out = tmp_path / "out"
    given = ["--data", f"npz:{tmp_path / 'pictures.npz'}", "--epochs", "1", "--batch", "54"]
    trained = CliRunner().invoke(app, [*given, "--only-train", "--out", str(out)])
    assert trained.exit_code == 0, trained.output
    assert sorted(path.name for path in out.iterdir()) == ["test.npz", "training.json", "validation.npz", "weights.npz"]
    finished = CliRunner().invoke(app, ["--finish", "--out", str(out)])
    assert finished.exit_code == 0, finished.output
    card = read_card(out)
    assert command(card) in finished.output
    assert command(card).endswith("pictures.npz --epochs 1 --batch 54 --learning-rate 0.2 --seed 0 --device cpu")
    assert [one.name for one in card.exits] == ["early", "middle", "late"]
    assert card.weights_sha256 == json.loads((out / "training.json").read_text())["weights_sha256"]
    # Of the backbone: stem, one block of 16 channels, three of 32, three of 64.
    assert 31e6 < card.macs < 32e6
    assert [round(one.macs_before / card.macs, 2) for one in card.exits] == [0.16, 0.43, 0.7]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "--data torchvision:CIFAR10:DIR"),
        (["--data", "nowhere.npz"], "nowhere.npz cannot be read"),
        (["--data", "oxen:here"], "no data 'oxen:here': write folder:DIR"),
        (["--data", "nowhere.npz", "--seed", "-1"], "seed -1: from 0"),
    ],
)
def test_data_that_cannot_be_had_are_told_in_words(given: list[str], says: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [*given, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert says in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_a_folder_that_was_not_trained_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--finish", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "train first" in " ".join(result.output.split())


def test_the_first_step_imports_nothing_that_a_bare_gpu_machine_lacks() -> None:
    code = (
        "import sys, bench.cifar10; print(*{'pydantic', 'msgpack', 'onnxruntime', 'torchvision'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout.strip()
