"""`models` and `import`: what there is to deploy, and how it gets there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from stageline.cli import app

if TYPE_CHECKING:
    from tests.stageline.command_line.conftest import House

runner = CliRunner()


def test_models_lists_what_the_hub_offers(house: House) -> None:
    listed = house.json("models")
    assert [one["name"] for one in listed] == ["doubler", "giant"]
    assert "doubler" in house.invoke("models").stdout


def test_models_lists_a_library_without_asking_anybody(tmp_path: Path) -> None:
    result = runner.invoke(app, ["models", "--local", "--library", str(tmp_path), "--json", "-"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


def test_import_puts_an_onnx_file_into_the_library(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Neg", ["b"], ["c"])],
        "small",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "small.onnx")
    library = ["--library", str(tmp_path / "library")]
    result = runner.invoke(app, ["import", str(tmp_path / "small.onnx"), *library, "--json", "-"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["name"] == "small"
    assert "small" in runner.invoke(app, ["models", "--local", *library]).stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.onnx"], "missing.onnx"),
        (["mobilnet_v2"], "mobilenet_v2"),
        (["resnet18", "--weights", "good"], "default or random"),
        (["resnet18", "--input-shape", "big"], "1x3x224x224"),
    ],
)
def test_import_refuses_in_one_line(arguments: list[str], says: str, tmp_path: Path) -> None:
    result = runner.invoke(app, ["import", *arguments, "--library", str(tmp_path)])
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.output
