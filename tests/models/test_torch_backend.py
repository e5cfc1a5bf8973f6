"""The torch backend as a stage runner: equal to ONNX Runtime, same checks, and PyTorch only where it is asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from models.importer import import_model
from models.library import Library
from models.runtime import StageRunner, load_stage
from models.runtime.checks import BackendError, WrongInputError
from models.runtime.torch_backend import TorchRunner
from schemas.codec import Array
from schemas.model import ModelCard

Inputs = Callable[[ModelCard], dict[str, Array]]


def test_every_slice_of_a_model_with_skips_answers_as_onnx_runtime_does(
    tiny_library: tuple[Library, ModelCard], example_inputs: Inputs
) -> None:
    library, card = tiny_library
    blocks = len(card.blocks)
    tensors = [example_inputs(card)]
    for first in range(blocks):
        tensors.append(load_stage(card, library.blobs, first, first + 1).run(tensors[first]))
    for first in range(blocks):
        for last in range(first + 1, blocks + 1):
            stage = load_stage(card, library.blobs, first, last, backend="torch")
            answers = stage.run(tensors[first])
            assert answers.keys() == {spec.name for spec in stage.outputs}
            for name, array in answers.items():
                np.testing.assert_allclose(
                    array, tensors[last][name], rtol=1e-4, atol=1e-5, err_msg=f"[{first}:{last})"
                )


def test_slices_of_a_real_network_chained_over_both_backends_answer_as_the_whole_does(
    library: Library, imported: Callable[[str], ModelCard], example_inputs: Inputs
) -> None:
    card = imported("squeezenet1_1")
    blocks = len(card.blocks)
    inputs = example_inputs(card)
    whole = load_stage(card, library.blobs, 0, blocks).run(inputs)
    middle = load_stage(card, library.blobs, 0, blocks // 2, backend="torch").run(inputs)
    answers = load_stage(card, library.blobs, blocks // 2, blocks).run(middle)
    (name,) = whole
    np.testing.assert_allclose(answers[name], whole[name], rtol=1e-4, atol=1e-5)


@pytest.fixture
def stage(tiny_library: tuple[Library, ModelCard]) -> StageRunner:
    library, card = tiny_library
    return load_stage(card, library.blobs, 0, len(card.blocks), backend="torch")


def test_a_stage_says_what_it_takes_gives_and_needs(
    stage: StageRunner, tiny_library: tuple[Library, ModelCard]
) -> None:
    _, card = tiny_library
    assert stage.inputs == card.inputs
    assert stage.outputs == card.outputs
    assert stage.memory_bytes > card.weight_bytes


def test_a_wrong_shape_is_refused_saying_what_was_expected_and_given(
    stage: StageRunner, tiny_library: tuple[Library, ModelCard], example_inputs: Inputs
) -> None:
    inputs = example_inputs(tiny_library[1])
    inputs["image"] = inputs["image"][:, :2]
    with pytest.raises(WrongInputError, match=r"1x3x12x12.*1x2x12x12"):
        stage.run(inputs)


def test_a_closed_stage_says_so(
    stage: StageRunner, tiny_library: tuple[Library, ModelCard], example_inputs: Inputs
) -> None:
    stage.close()
    with pytest.raises(BackendError, match="load it again"):
        stage.run(example_inputs(tiny_library[1]))


def test_received_tensors_are_neither_written_to_nor_complained_about(
    stage: StageRunner, tiny_library: tuple[Library, ModelCard], example_inputs: Inputs
) -> None:
    inputs = example_inputs(tiny_library[1])
    kept = {name: array.copy() for name, array in inputs.items()}
    for array in inputs.values():
        array.setflags(write=False)
    stage.run(inputs)
    for name, array in inputs.items():
        np.testing.assert_array_equal(array, kept[name])


def test_the_thread_count_is_the_stages_own(tiny_library: tuple[Library, ModelCard], example_inputs: Inputs) -> None:
    library, card = tiny_library
    before = torch.get_num_threads()
    try:
        load_stage(card, library.blobs, 0, 1, backend="torch", threads=1).run(example_inputs(card))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_missing_operator_is_named_with_its_node_and_the_backend_that_has_it(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Hardmax", ["x"], ["y"], "the-peak")],
        "rare",
        [value("x", TensorProto.FLOAT, [1, 4])],
        [value("y", TensorProto.FLOAT, [1, 4])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "r.onnx")
    library = Library(tmp_path / "library")
    card = import_model(str(tmp_path / "r.onnx"), library)
    with pytest.raises(BackendError, match=r"Hardmax.*the-peak.*onnxruntime"):
        load_stage(card, library.blobs, 0, 1, backend="torch")


def test_a_stage_is_a_torch_fx_module_that_can_be_printed(tiny_library: tuple[Library, ModelCard]) -> None:
    library, card = tiny_library
    runner = load_stage(card, library.blobs, 0, len(card.blocks), backend="torch")
    assert isinstance(runner, TorchRunner)
    assert "convolution" in runner.code or "conv" in runner.code


def test_the_runtime_does_not_import_torch_until_a_torch_stage_is_loaded() -> None:
    script = "import sys, models.runtime, models.profiling; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "False"
