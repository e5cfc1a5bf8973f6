"""Easy and hard inputs leave where they were made to, and what was seen becomes rows between two changes."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from made_up_plans import made_up_plan

from bench.exits.measure import Seen, rows_of
from bench.exits.network import EASY, HARD, MIDDLING, THRESHOLD, bright_network, pictures
from models.importer import import_model
from models.library import Library
from models.runtime import load_stage
from schemas.deployment import Decision
from schemas.plan import Plan, Prediction


def test_how_bright_a_picture_is_decides_where_it_leaves(tmp_path: Path) -> None:
    onnx.save(bright_network(channels=4, size=16), tmp_path / "bright.onnx")
    library = Library(tmp_path / "library")
    card = import_model(str(tmp_path / "bright.onnx"), library)
    assert [one.name for one in card.exits] == ["exit1", "exit2"]
    assert card.operating_points[0].shares == (0.5, 0.25)
    runner = load_stage(card, library.blobs, 0, len(card.blocks), exits=["exit1", "exit2"])
    try:
        for kind, left in ((EASY, "exit1"), (MIDDLING, "exit2"), (HARD, None)):
            for one in pictures(kind, 8, size=16):
                thresholds = dict.fromkeys(("exit1", "exit2"), THRESHOLD)
                assert runner.run_until({"image": one}, thresholds).exit == left
    finally:
        runner.close()


def test_a_row_is_what_came_between_two_changes_of_inputs_or_plan() -> None:
    def plan(generation: int, text: str) -> Plan:
        predicted = Prediction(latency_ms=1, throughput_rps=50, energy_j=1)
        return made_up_plan(
            text, deployment="d", generation=generation, model="m", objective="throughput", predicted=predicted
        )

    seen = Seen(plans=[(0.0, plan(1, "a[0:3) -> b[3:9)")), (20.0, plan(2, "a[0:1) -> b[1:9)"))])
    seen.decisions[2] = Decision(
        deployment="d", generation=2, requested=1.0, state="serving", cause="more requests leave at exit1"
    )
    seen.answers = [(10.0 + n / 10, "exit1" if n % 10 else "end") for n in range(300)]
    first, second = rows_of(seen, [(10.0, "easy")], 40.0)
    assert (first.inputs, first.plan, first.generation) == ("easy", "r0: a[0:3) -> b[3:9)", 1)
    assert first.throughput_rps == pytest.approx(10.0, rel=0.05)
    assert first.shares == pytest.approx({"end": 0.1, "exit1": 0.9}, abs=0.02)
    assert (second.plan, second.cause) == ("r0: a[0:1) -> b[1:9)", "more requests leave at exit1")
    assert (second.seconds, second.predicted_rps) == (20.0, 50.0)
