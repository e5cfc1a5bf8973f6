"""`stageline plan compare MODEL --fleet FILE`, measured for real on a small model."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from models.importer import import_model
from models.library import Library
from models.profiling import profile_blocks
from stageline import paper_fleet
from stageline.cli import app

runner = CliRunner()
FLEET = """
name = "two"
scale = 0.5
[[device]]
name = "strong"
cores = 1.0
[[device]]
name = "weak"
cores = 0.25
link = { up_mbps = 5, down_mbps = 5, delay_ms = 10.0 }
"""


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STAGELINE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(paper_fleet, "profile_blocks", partial(profile_blocks, budget_s=0.2))
    path = tmp_path / "two.toml"
    path.write_text(FLEET)
    return path


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nodes, weights = [], []
    for layer in range(4):
        weights.append(numpy_helper.from_array(np.full((8, 8, 3, 3), 0.01, np.float32), f"w{layer}"))
        nodes.append(helper.make_node("Conv", [f"h{layer}", f"w{layer}"], [f"h{layer + 1}"], pads=[1, 1, 1, 1]))
    shape = [1, 8, 24, 24]
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("h0", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("h4", TensorProto.FLOAT, shape)], weights,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_a_model_that_is_not_in_the_library_is_imported_for_the_moment(fleet: Path, small_model: Path) -> None:
    result = runner.invoke(app, ["plan", "compare", str(small_model), "--fleet", str(fleet), "--json", "-"])
    assert result.exit_code == 0, result.output
    assert "imported for this comparison only" in result.stderr
    document = json.loads(result.stdout)
    assert (document["model"], document["fleet"]) == ("small", "two")
    strong, weak = document["devices"]
    assert strong["whole_model_ms"] * 4 == pytest.approx(weak["whole_model_ms"])
    assert weak["rtt_ms"] > 20
    by_name = {one["policy"]: one for one in document["policies"]}
    assert by_name["best-single"]["plan"].startswith("r0: strong[0:")
    assert by_name["exact"]["latency_ms"] <= by_name["best-single"]["latency_ms"] * (1 + 1e-9)
    assert by_name["even-split"]["moved_bytes"] == 3 * 8 * 24 * 24 * 4
    assert not list((fleet.parent / "state").rglob("*.json"))


def test_a_model_of_the_library_is_used_as_it_is(fleet: Path, small_model: Path, tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    card = import_model(str(small_model), library, name="mine")
    options = ["--library", str(library.root), "--policy", "exact", "-o", "throughput", "--exclude", "weak"]
    result = runner.invoke(app, ["plan", "compare", "mine", "--fleet", str(fleet), *options])
    assert result.exit_code == 0, result.output
    assert "imported" not in result.stderr
    assert f"r0: strong[0:{len(card.blocks)})" in result.stdout
    assert "mine on one device, planned for throughput" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.onnx"], "no model 'missing.onnx' in the library"),
        (["x", "--policy", "magic"], "no policy 'magic'"),
        (["x", "-o", "speed"], "--objective"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(fleet: Path, arguments: list[str], says: str) -> None:
    result = runner.invoke(app, ["plan", "compare", *arguments, "--fleet", str(fleet)])
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.output
    assert len(result.stderr.splitlines()) == 1


def test_a_fleet_file_that_cannot_be_used_is_said_before_anything_is_measured(fleet: Path) -> None:
    fleet.write_text('name = "two"\n')
    result = runner.invoke(app, ["plan", "compare", "x", "--fleet", str(fleet)])
    assert result.exit_code == 2
    assert f"{fleet}: device: is missing" in result.stderr
