"""Scenarios are played as `make chaos` plays them, in a program of its own: networks want one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
Rows = dict[str, dict[str, Any]]
PATIENCE = 2.5
"""Times longer than the limits of `make chaos`: here they are behaviour, on a machine that does other things too."""


def _played(folder: Path, *names: str) -> Rows:
    """The rows of these scenarios, by name, played with small loads on devices that they share."""
    document = folder / "chaos.json"
    only = [word for name in names for word in ("--only", name)]
    places = ["--library", str(folder / "library"), "--pictures-out", str(folder / "pictures")]
    done = subprocess.run(
        [sys.executable, "-m", "bench.chaos", "--quick", *only, "--json", str(document), *places],
        cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert document.exists(), f"{done.stdout}\n{done.stderr}"
    return {row["scenario"]: row for row in json.loads(document.read_text())["scenarios"]}


@pytest.fixture(scope="session")
def play() -> Callable[..., Rows]:
    return _played


def _survived(row: dict[str, Any]) -> bool:
    """Whether nothing was lost, doubled or wrong, and everything else held with patience; False when left out."""
    if "left_out" in row:
        assert os.geteuid() != 0 or not sys.platform.startswith("linux"), row["left_out"]
        return False
    assert row["complaints"] == [], json.dumps(row, indent=1)
    assert (row["lost"], row["duplicates_visible"], row["wrong"]) == (0, 0, 0)
    assert row["submitted"] == row["answered"] + row["failed_with_reason"]
    for name, limit in row["limits"].items():
        assert limit["value"] is not None, (name, row)
        assert limit["value"] <= PATIENCE * limit["most"], (name, row)
    return True


@pytest.fixture(scope="session")
def survived() -> Callable[[dict[str, Any]], bool]:
    return _survived
