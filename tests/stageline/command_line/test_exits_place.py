"""`exits place`: which of many trained exits to keep, and how to go on from there."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from models.catalog import PACKAGED
from models.exits.card_files import VALIDATION
from stageline.cli import app

runner = CliRunner()


def run(*arguments: object) -> Any:
    return runner.invoke(app, [str(one) for one in arguments], prog_name="stageline")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """What training leaves: of the network with three exits that comes with Stageline."""
    return Path(shutil.copytree(PACKAGED["cifar10-exits"].parent, tmp_path / "exits"))


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
    assert f"--at {','.join(str(one['block']) for one in best['exits'])} --out" in result.stdout
    [line] = [line for line in result.stdout.splitlines() if "exits calibrate" in line]
    calibrated = run(*shlex.split(line)[1:], "--json", "-")
    assert calibrated.exit_code == 0, calibrated.output
    card = json.loads(calibrated.stdout)
    assert card["chosen"]["macs"] / card["macs"] == pytest.approx(best["work"])
    assert card["chosen"]["accuracy"] == pytest.approx(best["accuracy"])
    kept = {one["name"] for one in best["exits"]}
    assert all(one["threshold"] == 1 for one in card["exits"] if one["name"] not in kept)


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
