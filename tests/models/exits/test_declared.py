"""What a model file says of its exits, whoever wrote it."""

from __future__ import annotations

import json

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multi_exit_graphs import multi_exit_model

from models.exits.declared import (
    EXITS_KEY,
    MOST_BYTES,
    POINTS_KEY,
    Declared,
    DeclaredExit,
    ExitError,
    declare,
    read_declared,
    write_declared,
)
from schemas.model import OperatingPoint

GOOD = {"name": "early", "output": "early_logits", "threshold": 0.8}
POINT = {"thresholds": [0.8], "shares": [0.6], "accuracy": 0.9}


def saying(**texts: str) -> onnx.ModelProto:
    model = onnx.ModelProto()
    for key, text in texts.items():
        model.metadata_props.add(key={"exits": EXITS_KEY, "points": POINTS_KEY}[key], value=text)
    return model


def test_what_is_written_is_read_again() -> None:
    declared = Declared(
        exits=(
            DeclaredExit(name="early", output="a", threshold=0.8),
            DeclaredExit(name="late", output="b", threshold=0.7),
        ),
        points=(OperatingPoint(thresholds=(0.5, 0.4), shares=(0.7, 0.2), accuracy=0.8),),
    )
    model = onnx.ModelProto()
    model.metadata_props.add(key="author", value="somebody")
    write_declared(model, Declared(exits=declared.exits[:1]))
    write_declared(model, declared)
    assert read_declared(onnx.ModelProto.FromString(model.SerializeToString())) == declared
    assert [entry.key for entry in model.metadata_props] == ["author", EXITS_KEY, POINTS_KEY]
    write_declared(model, Declared())
    assert [entry.key for entry in model.metadata_props] == ["author"]


def test_the_format_is_plain_json_that_anybody_can_write() -> None:
    model = saying(exits=json.dumps([GOOD]), points=json.dumps([POINT]))
    declared = read_declared(model)
    assert [(one.name, one.output, one.threshold) for one in declared.exits] == [("early", "early_logits", 0.8)]
    assert declared.points[0].shares == (0.6,)


def test_a_model_that_says_nothing_has_no_exits() -> None:
    assert read_declared(onnx.ModelProto()) == Declared()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "{}",
        "null",
        "[1]",
        "[" * 5000,
        json.dumps([{**GOOD, "threshold": 1.5}]),
        json.dumps([{**GOOD, "threshold": -0.1}]),
        json.dumps([{**GOOD, "threshold": "0.5"}]),
        json.dumps([{**GOOD, "threshold": float("nan")}]),
        json.dumps([{**GOOD, "name": "a/b"}]),
        json.dumps([{**GOOD, "name": "#"}]),
        json.dumps([{**GOOD, "output": ""}]),
        json.dumps([{**GOOD, "output": "x" * 513}]),
        json.dumps([{**GOOD, "more": 1}]),
        json.dumps([{"name": "early", "output": "x"}]),
        json.dumps([GOOD, {**GOOD, "output": "other"}]),
        json.dumps([GOOD, {**GOOD, "name": "other"}]),
        json.dumps([{"name": f"e{i}", "output": f"o{i}", "threshold": 0.5} for i in range(65)]),
        "[" + " " * MOST_BYTES + "]",
    ],
    ids=lambda text: text[:30],
)
def test_exits_that_are_badly_declared_are_refused_in_a_few_words(text: str) -> None:
    with pytest.raises(ExitError, match="metadata") as refused:
        read_declared(saying(exits=text))
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    "point",
    [
        {**POINT, "thresholds": [0.8, 0.7]},
        {**POINT, "shares": []},
        {**POINT, "shares": [1.2]},
        {**POINT, "accuracy": 7},
        {"thresholds": [0.8]},
    ],
)
def test_operating_points_that_do_not_fit_the_exits_are_refused(point: dict[str, object]) -> None:
    with pytest.raises(ExitError, match="metadata"):
        read_declared(saying(exits=json.dumps([GOOD]), points=json.dumps([point])))


def test_shares_that_are_more_than_all_requests_are_refused() -> None:
    exits = json.dumps([GOOD, {**GOOD, "name": "late", "output": "other"}])
    point = {"thresholds": [0.8, 0.8], "shares": [0.7, 0.7], "accuracy": 0.9}
    with pytest.raises(ExitError, match="more than all requests"):
        read_declared(saying(exits=exits, points=json.dumps([point])))


def test_a_declaration_that_is_there_twice_is_refused() -> None:
    model = saying(exits=json.dumps([GOOD]))
    model.metadata_props.add(key=EXITS_KEY, value="[]")
    with pytest.raises(ExitError, match="twice"):
        read_declared(model)


def test_metadata_that_is_no_text_is_refused() -> None:
    data = saying(exits="XXXX").SerializeToString().replace(b"XXXX", b"\xff\xfe\x80[")
    with pytest.raises(ExitError, match="cannot be read"):
        read_declared(onnx.ModelProto.FromString(data))


@settings(max_examples=100, deadline=None)
@given(st.text() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_whatever_the_metadata_says_it_is_read_or_refused(text: str) -> None:
    try:
        declared = read_declared(saying(exits=text))
    except ExitError:
        return
    assert declared == Declared()


def test_outputs_after_the_first_are_declared_in_order() -> None:
    declared = declare({"early": 0.8, "late": 0.6}, ["logits", "a", "b"])
    assert [(one.name, one.output, one.threshold) for one in declared.exits] == [
        ("early", "a", 0.8),
        ("late", "b", 0.6),
    ]


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ({"early": 0.8, "late": 0.7}, "2 exits and gives 2 outputs"),
        ({}, "0 exits and gives 2 outputs"),
        ({"early": 2.0}, "early.*threshold.*less than or equal to 1"),
        ({"my exit": 0.5}, "my exit.*name"),
    ],
)
def test_a_module_whose_exits_do_not_fit_its_outputs_is_told_why(thresholds: dict[str, float], message: str) -> None:
    with pytest.raises(ExitError, match=message):
        declare(thresholds, ["logits", "a"])


def test_the_tests_own_networks_declare_their_exits() -> None:
    declared = read_declared(multi_exit_model({"early": 2}, thresholds={"early": 0.9}))
    assert declared.exits == (DeclaredExit(name="early", output="early_logits", threshold=0.9),)
