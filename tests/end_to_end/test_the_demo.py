"""`stageline demo` does what it says, as a newcomer runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# What the packaged weights say of the packaged pictures.
LABELS = {
    "chelsea.png": "Egyptian cat",
    "coffee.png": "espresso",
    "rocket.jpg": "missile",
    "motorcycle_left.png": "moped",
}
PROBABILITIES = {"chelsea.png": 0.38, "coffee.png": 0.96, "rocket.jpg": 0.37, "motorcycle_left.png": 0.58}


def test_four_pictures_are_classified_by_three_devices_in_three_plans(tmp_path: Path) -> None:
    report = tmp_path / "demo.json"
    done = subprocess.run(
        [sys.executable, "-m", "stageline.cli", "demo", "--requests", "40", "--json", str(report)],
        capture_output=True,
        text=True,
        check=False,
        timeout=560,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mosquitto_sub" in done.stdout
    saw = json.loads(report.read_text())
    assert [phase["name"] for phase in saw["phases"]] == ["latency", "throughput", "memory"]
    for phase in saw["phases"]:
        assert phase["submitted"] == phase["answered"] == 44
        assert (phase["failed"], phase["lost"], phase["duplicates"]) == (0, 0, 0)
        assert {picture["file"]: picture["label"] for picture in phase["pictures"]} == LABELS
        for picture in phase["pictures"]:
            assert picture["probability"] == pytest.approx(PROBABILITIES[picture["file"]], abs=0.02)
            assert picture["max_abs_error"] < 1e-4
            assert picture["receipt"]["stages"]
    memory = saw["phases"][2]
    assert {stage["device"] for stage in memory["stages"]} == {device["name"] for device in saw["devices"]}
