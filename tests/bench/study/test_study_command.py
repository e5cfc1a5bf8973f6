"""`python -m bench.study` leaves what it promises."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.study import sensitivity
from bench.study.__main__ import app
from bench.study.assumptions import BASE


def test_a_quick_study_without_learning_leaves_results_summary_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity, "VARIANTS", {"as in the study": BASE})
    out = tmp_path / "study"
    done = CliRunner().invoke(
        app, ["--quick", "--without-learning", "--out", str(out), "--json", str(tmp_path / "s.json")]
    )
    assert done.exit_code == 0, done.output
    rows = json.loads((out / "results.json").read_text())
    assert len(rows) == 2 * 8 * 3 * 6
    assert {row["table"] for row in rows} == {"images", "video"}
    summary = json.loads((out / "summary.json").read_text())
    assert summary == json.loads((tmp_path / "s.json").read_text())
    assert summary["tables"]["images"]["beaten"] == []
    assert len(summary["tables"]["video"]["exits"]) == 7
    assert {file.name for file in out.glob("*.svg")} == {"images.svg", "video.svg", "gaps.svg", "weights.svg"}


def test_without_what_training_needs_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    done = CliRunner().invoke(app, ["--quick", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "pip install 'stageline[learn]', or leave it out with --without-learning" in done.output.replace("\n", " ")
