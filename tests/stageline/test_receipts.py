"""Answers name classes, receipts add up."""

from __future__ import annotations

import json

import numpy as np
import pytest

from schemas.frame_header import StageTrace
from stageline.receipts import Answer, Receipt


def trace(device: str, *, energy_method: str = "measured", source: str = "ina3221") -> StageTrace:
    return StageTrace.model_validate(
        {
            "device": device, "first": 0, "last": 3, "wait_ms": 1.0, "compute_ms": 10.0, "codec_ms": 1.0,
            "bytes_in": 1000, "bytes_out": 500, "energy_j": 0.25, "energy_method": energy_method,
            "energy_source": source,
        }
    )  # fmt: skip


def receipt(*stages: StageTrace, attempts: int = 1) -> Receipt:
    return Receipt(
        request="q1", deployment="d", generation=4, route="r0: pi4[0:3)", attempts=attempts, latency_ms=40.0,
        held_ms=8.0, stages=stages,
    )  # fmt: skip


def test_a_receipt_adds_up_its_stages_and_the_rest_is_travel() -> None:
    one = receipt(trace("pi4"), trace("nano"))
    assert one.energy_j == pytest.approx(0.5)
    assert one.travel_ms == pytest.approx(40 - 8 - 24)


def test_energy_is_measured_only_when_every_stage_measured_it() -> None:
    assert receipt(trace("pi4")).energy_method == "measured"
    assert receipt(trace("pi4"), trace("nano", energy_method="modelled")).energy_method == "modelled"
    assert receipt(trace("pi4"), trace("nano", source="")).energy_method == "unknown"
    assert "energy unknown" in str(receipt(trace("pi4", source="")))


def test_a_receipt_is_one_line_a_table_and_json() -> None:
    one = receipt(trace("pi4"), attempts=2)
    assert str(one) == (
        "40.0 ms (8.0 held before it was sent, 32.0 on the line) over r0: pi4[0:3) (generation 4, 2 attempts), "
        "0.25 J measured"
    )
    assert str(one.model_copy(update={"held_ms": 0.0})).startswith("40.0 ms over r0: pi4[0:3) ")
    assert one.table().row_count == 1
    assert json.loads(json.dumps(one.as_dict()))["stages"][0]["device"] == "pi4"


def test_a_receipt_names_the_exit_that_was_taken() -> None:
    one = receipt(trace("pi4")).model_copy(update={"exit": "exit1"})
    assert "(generation 4), left at exit1, 0.25 J" in str(one)
    assert one.as_dict()["exit"] == "exit1"
    assert receipt(trace("pi4")).as_dict()["exit"] == ""


def test_scores_become_probabilities_and_classes_get_their_names() -> None:
    answer = Answer("q", {"y": np.array([[0.0, 3.0, 1.0]], np.float32)}, receipt(), ("ant", "bee", "cat"))
    best = answer.top(2)
    assert [one.label for one in best] == ["bee", "cat"]
    assert best[0].probability == pytest.approx(np.exp(3) / (1 + np.exp(3) + np.exp(1)))
    assert sum(one.probability for one in answer.top(3)) == pytest.approx(1)


def test_probabilities_stay_as_they_are_and_classes_without_labels_have_numbers() -> None:
    answer = Answer("q", {"y": np.array([[0.2, 0.7, 0.1]], np.float32)}, receipt())
    assert [(one.label, round(one.probability, 3)) for one in answer.top(1)] == [("class 1", 0.7)]


def test_the_output_with_one_score_per_label_is_the_one_that_is_ranked() -> None:
    outputs = {"features": np.ones((1, 8), np.float32), "scores": np.array([[9.0, 1.0]], np.float32)}
    assert Answer("q", outputs, receipt(), ("ant", "bee")).top(1)[0].label == "ant"


@pytest.mark.parametrize(
    ("labels", "output", "named"),
    [((), [3.0, -1.0], False), ((), [0.25, 0.75], True), (("ant", "bee"), [3.0, -1.0], True), ((), [], False)],
)
def test_numbers_without_labels_name_classes_only_where_they_are_a_distribution(
    labels: tuple[str, ...], output: list[float], named: bool
) -> None:
    assert Answer("q", {"y": np.array([output], np.float32)}, receipt(), labels).names_classes is named
