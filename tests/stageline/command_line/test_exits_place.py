"""`exits place`: which of many trained exits to keep, and how to go on from there."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from models.catalog import PACKAGED
from models.exits.attaching import Wish
from models.exits.card_files import VALIDATION, read_card, write_card
from models.exits.recipe import Recipe
from stageline.cli import app
from stageline.commands.conduct import INTERRUPTED
from stageline.training_again import train_again

runner = CliRunner()


def run(*arguments: object) -> Any:
    return runner.invoke(app, [str(one) for one in arguments], prog_name="stageline")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """What training leaves: of the network with three exits that comes with Stageline."""
    return Path(shutil.copytree(PACKAGED["cifar10-exits"].parent, tmp_path / "my exits"))


def test_each_method_has_a_row_and_the_command_that_follows_leads_to_its_figures(many: Path, tmp_path: Path) -> None:
    result = run("exits", "place", many, "--exits", 2, "--loss", 0.05, "--json", tmp_path / "kept.json")
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "kept.json").read_text())
    rows = {row["method"]: row for row in document["methods"]}
    assert list(rows) == ["spinn", "dp", "beam", "aco", "brute-force"]
    assert all(name in result.stdout for name in rows)
    best = rows[document["best"]]
    assert best["exits"]
    assert best["reached"]
    assert best["work"] <= rows["brute-force"]["work"] + 1e-9
    [line] = [line for line in result.stdout.splitlines() if "exits calibrate" in line]
    calibrated = run(*shlex.split(line)[1:], "--json", "-")
    assert calibrated.exit_code == 0, calibrated.output
    card = json.loads(calibrated.stdout)
    assert card["chosen"]["macs"] / card["macs"] == pytest.approx(best["work"])
    assert card["chosen"]["accuracy"] == pytest.approx(best["accuracy"])
    kept = {one["name"] for one in best["exits"]}
    assert all(one["threshold"] == 1 for one in card["exits"] if one["name"] not in kept)


def test_the_command_that_trains_again_says_all_that_the_training_before_was_told(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(
        epochs=3, batch=32, learning_rate=0.0123, seed=7, frozen=True, loss_weights=(0.25, 0.5, 0.75, 1.0), distil=0.4,
        mirror=False, shift=2,
    )  # fmt: skip
    told = {"data": "npz:it's mine.npz", "name": "mine", "input_shape": (1, 3, 32, 32), "head_width": 48}
    card = read_card(many).model_copy(
        update={**told, "backbone": "my nets.py:net", "recipe": recipe, "trained_on": "cuda, torch 2"}
    )
    write_card(many, card)
    result = run("exits", "place", many, "--exits", 2, "--loss", 0.05, "--json", tmp_path / "kept.json")
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "kept.json").read_text())
    [best] = [row for row in document["methods"] if row["method"] == document["best"]]
    kept = [place for place, one in enumerate(card.exits) if one.name in {exit_["name"] for exit_ in best["exits"]}]
    heard: list[tuple[Path, Wish, Recipe]] = []

    def hear(out: Path, wish: Wish, recipe: Recipe, _: object) -> None:
        heard.append((out, wish, recipe))
        raise KeyboardInterrupt

    monkeypatch.setattr("models.exits.attaching.train_exits", hear)
    [line] = [line for line in result.stdout.splitlines() if "exits train" in line]
    assert run(*shlex.split(line)[1:]).exit_code == INTERRUPTED
    at = ",".join(str(card.exits[place].block) for place in kept)
    wish = Wish(source="my nets.py:net", at=at, weights="random", device="cuda", **told)  # type: ignore[arg-type]
    loss_weights = tuple(recipe.loss_weights[place] for place in (*kept, -1))
    assert heard == [(Path("DIR"), wish, dataclasses.replace(recipe, loss_weights=loss_weights))]


def test_a_training_that_was_told_nothing_is_repeated_with_what_was_usual_then(many: Path) -> None:
    card = read_card(many)
    assert train_again(card, [0, 2]) == (
        f"stageline exits train small-resnet --data npz:cifar10.npz --at {card.exits[0].block},{card.exits[2].block} "
        "--epochs 14 --batch 128 --learning-rate 0.1 --distil 0.3 --shift 4 --name cifar10-exits --weights random "
        "--seed 0 --device cpu --mirror --out DIR"
    )


def test_what_cannot_be_chosen_is_told_in_one_line(many: Path, tmp_path: Path) -> None:
    shutil.copytree(many, tmp_path / "no-data")
    (tmp_path / "no-data" / VALIDATION).unlink()
    for arguments, says in (
        ([many, "--exits", 4], "4 exits cannot be kept of 3: give 1 to 3"),
        ([many, "--exits", 0], "0 exits cannot be kept of 3"),
        ([many, "--exits", 2, "--loss", 5], "write a share from 0 to 1"),
        ([tmp_path / "no-data", "--exits", 2], "holds no confidences of exits"),
        ([tmp_path, "--exits", 2], "name a folder that 'stageline exits train' wrote"),
    ):
        result = run("exits", "place", *arguments)
        assert result.exit_code == 2, result.output
        [line] = result.stderr.splitlines()
        assert says in line
