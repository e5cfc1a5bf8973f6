"""Importing `.onnx` files: any good one, and every bad one with a word on what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models import tidy
from models.graph import GraphError
from models.importer import import_model
from models.library import Library
from models.onnx_file import DynamicShapeError, NotOnnxError
from models.runtime import load_stage
from models.tidy import UnrunnableError
from schemas.codec import Array
from schemas.model import ModelCard

Shape = Sequence[int | str | None]


@pytest.fixture
def own(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    """Writes a graph as a file and gives its path."""

    def write(
        nodes: Sequence[onnx.NodeProto],
        *,
        shape: Shape = (1, 4),
        out: Shape = (1, 4),
        initializers: Sequence[TensorProto] = (),
        functions: Sequence[onnx.FunctionProto] = (),
        extra_inputs: Sequence[onnx.ValueInfoProto] = (),
        outputs: Sequence[str] = ("y",),
    ) -> str:
        graph = helper.make_graph(
            list(nodes),
            "made",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape), *extra_inputs],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, out) for name in outputs],
            list(initializers),
        )
        opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(f.domain, 1) for f in functions)]
        model = helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=10)
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        return str(path)

    return write


def weight(name: str, *shape: int) -> TensorProto:
    return numpy_helper.from_array(np.random.default_rng(0).standard_normal(shape).astype(np.float32), name)


def whole(card: ModelCard, library: Library, inputs: dict[str, Array]) -> dict[str, Array]:
    return load_stage(card, library.blobs, 0, len(card.blocks)).run(inputs)


X = np.arange(4, dtype=np.float32).reshape(1, 4)
RELU = helper.make_node("Relu", ["x"], ["y"])


# --- what is not ONNX ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("data", [b"", b"just some text, no graph", b"\x89PNG\r\n\x1a\n" + bytes(200), b"\x08\x0a"])
def test_a_file_that_is_not_onnx_is_told_so(data: bytes, tmp_path: Path, own: Library) -> None:
    path = tmp_path / "picture.onnx"
    path.write_bytes(data)
    with pytest.raises(NotOnnxError, match=r"picture\.onnx is not an ONNX model"):
        import_model(str(path), own)
    assert own.cards() == {}


def test_a_truncated_file_is_told_so(save: Callable[..., str], own: Library) -> None:
    path = Path(save([helper.make_node("MatMul", ["x", "w"], ["y"])], initializers=[weight("w", 4, 4)]))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(NotOnnxError):
        import_model(str(path), own)


def test_a_graph_that_breaks_the_rules_is_told_which(save: Callable[..., str], own: Library) -> None:
    path = save([helper.make_node("Relu", ["nothing"], ["y"])])
    with pytest.raises(NotOnnxError, match="nothing"):
        import_model(path, own)


def test_an_operator_that_nobody_knows_is_named(save: Callable[..., str], own: Library, tmp_path: Path) -> None:
    path = save([RELU])
    model = onnx.load(path)
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    onnx.save(model, path)
    with pytest.raises(UnrunnableError, match=r"ONNX Runtime does not accept"):
        import_model(path, own)


def test_a_missing_file_is_told_so(own: Library, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*gone\.onnx"):
        import_model(str(tmp_path / "gone.onnx"), own)


# --- shapes ----------------------------------------------------------------------------------------------------------
def test_an_open_batch_becomes_one(save: Callable[..., str], own: Library) -> None:
    card = import_model(save([RELU], shape=("batch", 4), out=("batch", 4)), own)
    assert (card.inputs[0].shape, card.outputs[0].shape) == ((1, 4), (1, 4))


def test_other_open_sizes_must_be_given(save: Callable[..., str], own: Library) -> None:
    path = save([RELU], shape=("batch", 3, "height", None), out=("batch", 3, "height", None))
    with pytest.raises(DynamicShapeError, match=r"\[batch,3,height,\?\].*--input-shape, e\.g\. 1x3x224x224"):
        import_model(path, own)
    assert import_model(path, own, input_shape=(1, 3, 8, 8)).outputs[0].shape == (1, 3, 8, 8)


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 3, 8), (1, 3, 0, 8)])
def test_an_input_shape_that_does_not_fit_is_refused(
    shape: tuple[int, ...], save: Callable[..., str], own: Library
) -> None:
    path = save([RELU], shape=("batch", 3, "h", "w"), out=("batch", 3, "h", "w"))
    with pytest.raises(DynamicShapeError, match="does not fit"):
        import_model(path, own, input_shape=shape)


def test_an_output_whose_size_depends_on_the_data_is_refused(save: Callable[..., str], own: Library) -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["i"]), helper.make_node("Cast", ["i"], ["y"], to=TensorProto.FLOAT)]
    with pytest.raises(GraphError, match="output 'y' has no static shape"):
        import_model(save(nodes, out=(2, "found")), own)


# --- external data ---------------------------------------------------------------------------------------------------
def external(path: str, location: str) -> None:
    model = onnx.load(path, load_external_data=False)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "64")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    Path(path).write_bytes(model.SerializeToString())


def matmul(save: Callable[..., str]) -> str:
    return save([helper.make_node("MatMul", ["x", "w"], ["y"])], initializers=[weight("w", 4, 4)])


def test_weights_beside_the_file_are_read(save: Callable[..., str], own: Library, tmp_path: Path) -> None:
    path = matmul(save)
    matrix = np.random.default_rng(1).standard_normal((4, 4)).astype(np.float32)
    (tmp_path / "weights.bin").write_bytes(matrix.tobytes())
    external(path, "weights.bin")
    card = import_model(path, own)
    np.testing.assert_allclose(whole(card, own, {"x": X})["y"], X @ matrix, rtol=1e-5)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "link.bin", "sub/../../secret.bin", ""])
def test_weights_elsewhere_are_never_followed(
    location: str, save: Callable[..., str], own: Library, tmp_path: Path
) -> None:
    (tmp_path.parent / "secret.bin").write_bytes(bytes(64))
    (tmp_path / "link.bin").symlink_to(tmp_path.parent / "secret.bin")
    (tmp_path / "sub").mkdir()
    path = matmul(save)
    external(path, location)
    with pytest.raises(NotOnnxError, match="outside the file's own folder"):
        import_model(path, own)


def test_weights_that_are_not_there_are_named(save: Callable[..., str], own: Library) -> None:
    path = matmul(save)
    external(path, "lost.bin")
    with pytest.raises(NotOnnxError, match=r"'w' should be in 'lost\.bin'"):
        import_model(path, own)


# --- graphs of every kind --------------------------------------------------------------------------------------------
def test_control_flow_runs_as_one_block(save: Callable[..., str], own: Library) -> None:
    def branch(name: str, operator: str) -> onnx.GraphProto:
        node = helper.make_node(operator, ["x", "w"], [name])
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4])])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=branch("t", "MatMul"), else_branch=branch("e", "Add")),
    ]
    zero = numpy_helper.from_array(np.array(0, np.float32), "zero")
    square = numpy_helper.from_array(np.eye(4, dtype=np.float32) * 3, "w")
    card = import_model(save(nodes, initializers=[zero, square]), own)
    assert len(card.blocks) == 1
    assert "control flow (If)" in card.notes[0]
    np.testing.assert_allclose(whole(card, own, {"x": X})["y"], X * 3)


def test_large_weights_used_only_inside_control_flow_travel_with_its_block(
    save: Callable[..., str], own: Library
) -> None:
    def branch(name: str) -> onnx.GraphProto:
        node = helper.make_node("MatMul", ["h", name], [f"{name}_made"])
        made = helper.make_tensor_value_info(f"{name}_made", TensorProto.FLOAT, [1, 64])
        return helper.make_graph([node], name, [], [made])

    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["h"]),
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Cast", ["total"], ["flag"], to=TensorProto.BOOL),
        helper.make_node("If", ["flag"], ["c"], then_branch=branch("one"), else_branch=branch("two")),
        helper.make_node("MatMul", ["c", "last"], ["y"]),
    ]
    identity = numpy_helper.from_array(np.eye(64, dtype=np.float32), "two")
    weights = [weight("first", 4, 64), weight("one", 64, 64), identity, weight("last", 64, 4)]
    card = import_model(save(nodes, initializers=weights), own)
    assert len(card.blobs) == 2
    inputs: dict[str, Array] = {"x": X}
    expected = whole(card, own, inputs)["y"]
    tensors = inputs
    for i in range(len(card.blocks)):
        tensors = load_stage(card, own.blobs, i, i + 1).run(tensors)
    np.testing.assert_allclose(tensors["y"], expected, rtol=1e-4, atol=1e-5)
    assert len(card.blocks) == 3


def test_constants_are_folded_and_batch_norms_join_their_convolutions(save: Callable[..., str], own: Library) -> None:
    vector = [numpy_helper.from_array(np.full(8, v, np.float32), n) for n, v in zip("abmv", (2, 1, 0, 1), strict=True)]
    nodes = [
        helper.make_node("Constant", [], ["sizes"], value_ints=[1, 3, 4, 4]),
        helper.make_node("Reshape", ["x", "sizes"], ["r"]),
        helper.make_node("Conv", ["r", "w"], ["c"], kernel_shape=[3, 3]),
        helper.make_node("BatchNormalization", ["c", "a", "b", "m", "v"], ["n"]),
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        helper.make_node("Mul", ["n", "half"], ["y"]),
    ]
    path = save(nodes, shape=(1, 48), out=(1, 8, 2, 2), initializers=[weight("w", 8, 3, 3, 3), *vector])
    card = import_model(path, own)
    graph = onnx.ModelProto.FromString(own.blobs.read(card.graph.sha256)).graph
    assert [node.op_type for node in graph.node] in (["Reshape", "Conv"], ["Reshape", "Conv", "Mul"])


def test_functions_of_the_file_are_inlined(save: Callable[..., str], own: Library) -> None:
    double = helper.make_function(
        "local", "Double", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 18)]
    )
    card = import_model(save([helper.make_node("Double", ["x"], ["y"], domain="local")], functions=[double]), own)
    np.testing.assert_array_equal(whole(card, own, {"x": X})["y"], X * 2)


def test_initializers_that_are_listed_as_inputs_are_no_inputs(save: Callable[..., str], own: Library) -> None:
    listed = helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 4])
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    card = import_model(save([node], initializers=[weight("w", 4, 4)], extra_inputs=[listed]), own)
    assert [spec.name for spec in card.inputs] == ["x"]


def test_an_output_that_is_a_constant_and_one_that_is_an_input_are_served(
    save: Callable[..., str], own: Library
) -> None:
    nodes = [RELU, helper.make_node("Identity", ["x"], ["same"])]
    constant = numpy_helper.from_array(np.full((1, 4), 5, np.float32), "fixed")
    card = import_model(save(nodes, initializers=[constant], outputs=("y", "same", "fixed")), own)
    answers = whole(card, own, {"x": X})
    np.testing.assert_array_equal(answers["fixed"], np.full((1, 4), 5))
    np.testing.assert_array_equal(answers["same"], X)


def test_several_inputs_and_outputs_are_all_on_the_card(imported: Callable[[str], ModelCard]) -> None:
    card = imported("skipping")
    assert [str(spec) for spec in card.inputs] == ["image float32[1x3x12x12]", "hint float32[1x4]"]
    assert [spec.name for spec in card.outputs] == ["scores", "early"]
    assert card.preprocess is None
    assert card.source == "skipping.onnx"


def test_half_precision_and_integer_models_are_served(save: Callable[..., str], own: Library) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["h", "w"], ["m"]),
        helper.make_node("Cast", ["m"], ["y"], to=TensorProto.FLOAT),
    ]
    half = numpy_helper.from_array(np.full((128, 128), 0.5, np.float16), "w")
    card = import_model(save(nodes, shape=(1, 128), out=(1, 128), initializers=[half]), own)
    assert card.blobs[0].nbytes == 128 * 128 * 2
    ones = np.ones((1, 128), np.float32)
    np.testing.assert_array_equal(whole(card, own, {"x": ones})["y"], np.full((1, 128), 64))


def test_a_model_too_large_for_one_protobuf_goes_by_way_of_external_data(
    skipping_path: Path, own: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = import_model(str(skipping_path), own)
    monkeypatch.setattr(tidy, "_IN_ONE_PIECE", 10)
    assert import_model(str(skipping_path), own).sha256 == usual.sha256


def test_folding_that_changes_too_much_is_left_out(
    save: Callable[..., str], own: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidy, "_IN_ONE_PIECE", 10)
    monkeypatch.setattr(tidy, "_signature", lambda model: [(str(id(model)), 0)])
    matrix = weight("w", 4, 4)
    card = import_model(save([helper.make_node("MatMul", ["x", "w"], ["y"])], initializers=[matrix]), own)
    np.testing.assert_allclose(whole(card, own, {"x": X})["y"], X @ numpy_helper.to_array(matrix), rtol=1e-5)


def test_importing_the_same_file_twice_gives_the_same_card(skipping_path: Path, own: Library) -> None:
    assert import_model(str(skipping_path), own).sha256 == import_model(str(skipping_path), own).sha256
