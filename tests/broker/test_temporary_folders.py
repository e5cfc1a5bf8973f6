"""What a killed run leaves in the temporary folder goes at the next run, and nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from broker.folders import sweep_folders, temporary_folder


def test_folders_of_dead_runs_go_and_those_of_living_ones_and_of_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f"ours-{dead.pid}-abc_1"
    (left / "inner").mkdir(parents=True)
    stranger = tmp_path / f"theirs-{dead.pid}-abc"
    unnumbered = tmp_path / "ours-abc"
    stranger.mkdir()
    unnumbered.mkdir()
    with temporary_folder("ours") as mine:
        assert f"-{os.getpid()}-" in mine
        assert sweep_folders("ours") == [left.name]
        assert Path(mine).is_dir()
    assert stranger.is_dir()
    assert unnumbered.is_dir()
    assert not left.exists()
