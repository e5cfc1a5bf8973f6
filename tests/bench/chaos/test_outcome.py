"""How scenarios are judged, told and drawn."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.chaos.figures import figures_of
from bench.chaos.load import right
from bench.chaos.outcome import Limit, Outcome
from bench.chaos.record import Record, Shown
from bench.chaos.scenario import PICTURES, Load, different_inputs
from bench.chaos.scenarios import SCENARIOS
from bench.chaos.table import outcome_table, remarks
from bench.chaos.timeline import counts, draw_timeline
from schemas.model import TensorSpec


def test_a_limit_whose_moment_never_came_did_not_hold() -> None:
    assert Limit("first_answer_ms", 2000, 1999.0).held
    assert not Limit("first_answer_ms", 2000, 2001.0).held
    assert not Limit("first_answer_ms", 2000, None).held
    assert not Limit("first_answer_ms", 2000, float("nan")).held


def test_answers_must_have_the_same_outputs_within_the_tolerance() -> None:
    expected = {"y": np.array([1.0, 2.0], np.float32)}
    assert right(expected, {"y": np.array([1.00005, 2.0], np.float32)})
    assert not right(expected, {"y": np.array([1.001, 2.0], np.float32)})
    assert not right(expected, {"z": expected["y"]})
    assert not right(expected, {"y": expected["y"][:1]})
    assert not right(None, expected)


def test_no_two_inputs_are_alike() -> None:
    class Card:
        inputs = (TensorSpec(name="x", dtype="float32", shape=(1, 4)), TensorSpec(name="p", dtype="uint8", shape=(8,)))

    inputs = different_inputs(Card())  # type: ignore[arg-type]
    assert len({one["x"].tobytes() for one in inputs}) == len({one["p"].tobytes() for one in inputs}) == PICTURES


def test_answers_are_counted_by_tenths_of_a_second_wherever_the_tenth_ends() -> None:
    assert counts([-0.25, -0.2, 0.0, 0.05, 0.1, 0.29], -0.3, 0.3) == [1, 1, 0, 2, 1, 1]
    assert counts([5.0], 0.0, 0.2) == [0, 0]


def outcome(*complaints: str) -> Outcome:
    record = Record(clock=lambda: 0.3, submitted={0: 0.0, 1: 0.5}, struck_s=0.3, load_ended_s=0.6)
    record.shown = [Shown(0, 0.2, "a"), Shown(1, 0.7, reason="deadline", detail="late")]
    record.mark("SIGKILL $worker_1")
    return Outcome("one", "something [holds]", figures_of(record), complaints=complaints, record=record)


def test_an_outcome_is_a_row_a_line_and_a_picture(tmp_path: Path) -> None:
    bad, good, absent = outcome("it [broke]"), outcome(), Outcome("away", "nothing", None, left_out="no root")
    assert (bad.held, good.held, absent.held) == (False, True, None)
    assert outcome_table([bad, good, absent]).row_count == 3
    assert len(list(remarks([bad, good, absent]))) == 2
    row = good.as_dict()
    wanted = {
        "submitted", "answered", "failed_with_reason", "lost", "duplicates_visible", "wrong", "detect_ms", "replan_ms",
        "first_answer_ms", "longest_silence_ms",
    }  # fmt: skip
    assert wanted <= row.keys()
    assert row["failures"] == {"deadline": 1}
    strange = replace(good, told={"ratio": float("nan")}, limits=(Limit("ratio", 1, float("nan")),))
    assert json.loads(json.dumps(strange.as_dict(), allow_nan=False))["ratio"] is None
    assert not strange.held
    assert draw_timeline(good, tmp_path / "deep" / "one.png")
    assert (tmp_path / "deep" / "one.png").read_bytes().startswith(b"\x89PNG")
    assert not draw_timeline(absent, tmp_path / "away.png")


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_every_scenario_has_a_fleet_that_fits_two_cores_and_enough_requests(scenario) -> None:
    assert scenario.fleet_file().total_cores <= 2.0
    assert scenario.load.least >= 300
    assert scenario.load.quick().least < Load().least
