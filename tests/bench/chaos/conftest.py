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
TIMEOUT_S = 1780
"""A guard against what never ends, on any machine."""
PATIENCE = 2.5
"""Times longer than the limits of `make chaos`: here they are behaviour, on a machine that does other things too."""


@pytest.fixture(scope="session")
def play(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Rows]:
    """Rows of scenarios, by name. All that any test will ask for (a module's `NAMES`) are played at once: starting
    devices and having them measure a model takes as long as several scenarios do.
    """
    ours = [item.module for item in request.session.items if item.path.parent == Path(__file__).parent]
    wanted = dict.fromkeys(name for module in ours for name in getattr(module, "NAMES", ()))
    known: Rows = {}

    def rows(*names: str) -> Rows:
        if not known:
            known.update(_played(tmp_path_factory.mktemp("chaos"), tuple(wanted)))
        return {name: known[name] for name in names}

    return rows


def _played(folder: Path, names: tuple[str, ...]) -> Rows:
    """Played with small loads on devices that they share."""
    document = folder / "chaos.json"
    only = [word for name in names for word in ("--only", name)]
    places = ["--library", str(folder / "library"), "--pictures-out", str(folder / "pictures")]
    command = [sys.executable, "-m", "bench.chaos", "--quick", *only, "--json", str(document), *places]
    log = folder / "log"
    with log.open("wb") as out:
        ended = subprocess.run(command, cwd=ROOT, stdout=out, stderr=out, check=False, timeout=TIMEOUT_S).returncode
    assert document.exists(), f"ended with {ended}:\n{log.read_text(errors='replace')}"
    return {row["scenario"]: row for row in json.loads(document.read_text())["scenarios"]}


def _survived(row: dict[str, Any]) -> bool:
    """Whether nothing was lost, doubled or wrong, and everything else held with patience; False when left out."""
    if "left_out" in row:
        assert os.geteuid() != 0 or not sys.platform.startswith("linux"), row["left_out"]
        return False
    assert row["complaints"] == [], json.dumps(row, indent=1)
    assert (row["lost"], row["duplicates_visible"], row["wrong"]) == (0, 0, 0)
    assert row["submitted"] == row["answered"] + row["failed_with_reason"]
    # A line on a machine that is short of everything answers haltingly before anything is broken.
    usual = {"longest_silence_ms": row["silence_before_ms"] or 0.0}
    for name, limit in row["limits"].items():
        assert limit["value"] is not None, (name, row)
        most = max(limit["most"], min(usual.get(name, 0.0), 4 * limit["most"]))
        assert limit["value"] <= PATIENCE * most, (name, row)
    return True


@pytest.fixture(scope="session")
def survived() -> Callable[[dict[str, Any]], bool]:
    return _survived
