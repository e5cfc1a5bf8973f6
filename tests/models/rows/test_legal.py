"""How far models can be divided, and the reasons why not further."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper
from row_graphs import card_of, model_of, weight, whole

from models.library import Library
from models.rows.chain import RowsError
from models.rows.given import Given
from models.rows.legal import deepest
from models.rows.operators import divide
from models.stage import BadGraphError
from schemas.model import ModelCard

HEIGHT = 8


def why_not(nodes: list[onnx.NodeProto], *constants: TensorProto, output: str = "a", opset: int = 18) -> str:
    """Why the graph from `x` [1, 2, 8, 5] to `output` cannot be divided; "" where it can."""
    card, data = card_of(model_of(nodes, constants, height=HEIGHT, output=output, opset=opset), output)
    found = deepest(card, data)
    return "" if found.lasts else found.why_not_further


def node(operator: str, *inputs: str, made: str = "a", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, list(inputs), [made], **attributes)


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("Relu", "x")], []),
        ([node("Conv", "x", "w", auto_pad="SAME_UPPER", strides=[2, 1])], [weight("w", 2, 2, 3, 3)]),
        ([node("Conv", "x", "w", auto_pad="VALID")], [weight("w", 2, 2, 3, 3)]),
        ([node("Mul", "x", "w")], [weight("w", 1, 2, 1, 1)]),
        ([node("Mul", "w", "x")], [weight("w", 1, 5)]),
        ([node("Add", "x", "x")], []),
        ([node("Pad", "x", "p", "", "axes")], [whole("p", 1, 1), whole("axes", -2)]),
        ([node("Pad", "x", "p", mode="reflect")], [whole("p", 0, 0, 0, 1, 0, 0, 0, 1)]),
        ([node("Slice", "x", "s", "e", "axes")], [whole("s", 0), whole("e", 1), whole("axes", 1)]),
        ([node("Gather", "x", "i", axis=1)], [whole("i", 1, 0)]),
        ([node("ReduceMean", "x", "axes")], [whole("axes", 1)]),
        ([node("Softmax", "x", axis=1)], []),
        (
            [
                node("Gather", "x", "i", made="row", axis=1),
                node("Unsqueeze", "row", "axes", made="b"),
                node("Concat", "b", "x", axis=1),
            ],
            [helper.make_tensor("i", TensorProto.INT64, [], [0]), whole("axes", 1)],
        ),
        (
            [
                node("Transpose", "x", made="t", perm=[0, 2, 3, 1]),
                node("LayerNormalization", "t", "scale", made="n", axis=-1),
                node("MatMul", "n", "w", made="m"),
                node("Transpose", "m", perm=[0, 3, 1, 2]),
            ],
            [weight("scale", 2), weight("w", 2, 3)],
        ),
        ([node("Identity", "w", made="v"), node("Conv", "x", "v")], [weight("w", 2, 2, 3, 3)]),
    ],
    ids=lambda case: "-".join(one.op_type if isinstance(one, onnx.NodeProto) else one.name for one in case),
)
def test_rows_pass_through(nodes: list[onnx.NodeProto], constants: list[TensorProto]) -> None:
    assert why_not(nodes, *constants) == ""


@pytest.mark.parametrize(
    ("nodes", "constants", "says"),
    [
        ([node("InstanceNormalization", "x", "w", "w")], [weight("w", 2)], "InstanceNormalization needs all rows"),
        ([node("Reshape", "x", "s")], [whole("s", 1, 2, 4, 10)], "Reshape mixes rows with other axes"),
        ([node("CumSum", "x", "axis")], [whole("axis", 1)], "CumSum may need any row"),
        ([node("Mul", "x", "w")], [weight("w", 8, 1)], "Mul has a constant that differs from row to row"),
        (
            [node("Transpose", "x", made="t", perm=[0, 1, 3, 2]), node("Conv", "t", "w")],
            [weight("w", 2, 2, 3, 3)],
            "Conv slides along another axis than the rows",
        ),
        (
            [node("Transpose", "x", made="t", perm=[0, 1, 3, 2]), node("Mul", "t", "w")],
            [weight("w", 1, 2, 1, 8)],
            "Mul has a constant that differs from row to row",
        ),
        (
            [node("ReduceMean", "x", "axes", made="m"), node("Mul", "x", "m")],
            [whole("axes", 2, 3)],
            "ReduceMean needs all rows",
        ),
        ([node("ReduceMean", "x")], [], "ReduceMean needs all rows"),
        ([node("Softmax", "x", axis=2)], [], "Softmax works along the rows"),
        ([node("Concat", "x", "x", axis=2)], [], "Concat works along the rows"),
        ([node("Concat", "x", "w", axis=1)], [weight("w", 1, 2, 8, 5)], "Concat combines tensors whose rows differ"),
        ([node("Slice", "x", "s", "e", "axes")], [whole("s", 0), whole("e", 4), whole("axes", 2)], "Slice picks rows"),
        ([node("Slice", "x", "s", "e")], [whole("s", 0, 0, 0), whole("e", 1, 2, 4)], "Slice picks rows"),
        ([node("Gather", "x", "i", axis=2)], [whole("i", 1, 0)], "Gather picks rows"),
        (
            [node("Pad", "x", "p", mode="reflect")],
            [whole("p", 0, 0, 1, 0, 0, 0, 1, 0)],
            "Pad fills its padding from other rows",
        ),
        (
            [node("Conv", "x", "w", pads=[1, 1, 1, 1])],
            [weight("w", 2, 2, 1, 1)],
            "Conv has windows that hold nothing but padding",
        ),
        (
            [node("MatMul", "x", "w")],
            [weight("w", 1, 2, 5, 5)],
            "MatMul works along the rows",
        ),
        (
            [node("LayerNormalization", "x", "w", axis=2)],
            [weight("w", 8, 5)],
            "LayerNormalization needs all rows",
        ),
        (
            [helper.make_node("MaxPool", ["x"], ["a", "where"], kernel_shape=[2, 2])],
            [],
            "MaxPool says where in the whole picture",
        ),
        (
            [helper.make_node("BatchNormalization", ["x", *"wwww"], ["a", "mean", "spread"], training_mode=1)],
            [weight("w", 2)],
            "BatchNormalization needs all rows",
        ),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_what_mixes_rows_is_named_with_its_block(
    nodes: list[onnx.NodeProto], constants: list[TensorProto], says: str
) -> None:
    found = why_not(nodes, *constants)
    assert found.startswith(f"block 0: {says}")


def test_an_operator_of_another_domain_may_need_any_row() -> None:
    given = Given(node("Relu", "x", domain="com.example"), 18, {"x": (1, 2, 8, 5)}, {"x": 2}, {})
    with pytest.raises(RowsError, match="Relu may need any row"):
        divide(given)


def test_bands_end_with_a_tensor_whose_third_axis_is_rows() -> None:
    assert why_not([node("Transpose", "x", perm=[0, 1, 3, 2])]) == "block 1: GlobalAveragePool needs all rows"


def test_older_operators_have_attributes_in_the_place_of_inputs() -> None:
    assert why_not([node("Unsqueeze", "x", made="u", axes=[2]), node("Squeeze", "u", axes=[2])], opset=11) == ""
    assert "works along the rows" in why_not([node("Softmax", "x", axis=1)], opset=11)
    assert "Slice picks rows" in why_not([node("Slice", "x", starts=[0], ends=[4], axes=[2])], opset=9)


def test_a_picture_of_one_row_cannot_be_divided() -> None:
    card, data = card_of(model_of([node("Relu", "x")], [], height=1, output="a"), "a")
    assert "has no rows" in deepest(card, data).why_not_further


def test_a_model_with_two_inputs_says_so(library: Library, tiny: ModelCard) -> None:
    found = deepest(tiny, library.blobs.read(tiny.graph.sha256))
    assert found.lasts == ()
    assert "takes 2 inputs" in found.why_not_further


def test_a_graph_that_does_not_fit_its_card_is_refused() -> None:
    card, data = card_of(model_of([node("Relu", "x")], [], height=HEIGHT, output="a"), "a")
    with pytest.raises(BadGraphError, match="import the model again"):
        deepest(card, b"no graph")
    model = onnx.ModelProto.FromString(data)
    model.graph.node.append(node("Relu", "y", made="more"))
    with pytest.raises(BadGraphError, match="3 nodes, the card says 2"):
        deepest(card, model.SerializeToString())


def test_attributes_that_do_not_fit_end_the_blocks_that_can_be_divided() -> None:
    good = model_of([node("MaxPool", "x", kernel_shape=[2, 2])], [], height=HEIGHT, output="a")
    card, data = card_of(good, "a")
    model = onnx.ModelProto.FromString(data)
    for name, value in (("strides", [0, 0]), ("kernel_shape", [2]), ("pads", [1]), ("dilations", [1, 1, 1])):
        del model.graph.node[0].attribute[:]
        attributes = {"kernel_shape": [2, 2], name: value}
        model.graph.node[0].attribute.extend(helper.make_attribute(*each) for each in attributes.items())
        try:
            found = deepest(card, model.SerializeToString())
        except BadGraphError:
            continue
        assert found.lasts == ()


def test_a_boundary_that_bands_cannot_have_names_those_that_they_can() -> None:
    card, data = card_of(model_of([node("Relu", "x")], [], height=HEIGHT, output="a"), "a")
    found = deepest(card, data)
    assert found.boundary(1).height == HEIGHT
    assert found.chain(1) is found.chain(1)
    with pytest.raises(RowsError, match=r"before block 2; they can before block 1 .*GlobalAveragePool needs all rows"):
        found.boundary(2)


def test_heads_of_exits_are_no_part_of_what_bands_compute() -> None:
    head = node("GlobalAveragePool", "r", made="head")
    nodes = [node("Relu", "x", made="r"), head, node("Sigmoid", "r")]
    model = model_of(nodes, [], height=HEIGHT, output="a")
    card, data = card_of(model, "a")
    assert [step.operator for step in deepest(card, data).chain(1).steps] == ["Relu", "Sigmoid"]
