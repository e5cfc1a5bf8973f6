"""Where a graph may be cut, and what crosses there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, shape_inference

from models.graph import MAX_CUT_TENSORS, Analysis, GraphError, analyse
from models.proto import reads
from schemas.model import ModelCard


def model(
    nodes: Sequence[onnx.NodeProto], outputs: Sequence[str], *, inputs: Sequence[str] = ("x",), size: int = 4
) -> onnx.ModelProto:
    """A graph of [1,size] tensors with one square weight `w`."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [helper.make_tensor("w", TensorProto.FLOAT, [size, size], [0.0] * size * size)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def analysed(
    nodes: Sequence[onnx.NodeProto], outputs: Sequence[str], *, inputs: Sequence[str] = ("x",), size: int = 4
) -> Analysis:
    whole = model(nodes, outputs, inputs=inputs, size=size)
    return analyse(shape_inference.infer_shapes(whole, data_prop=True))


def mul(source: str, made: str) -> onnx.NodeProto:
    return helper.make_node("MatMul", [source, "w"], [made], f"mul_{made}")


def relu(source: str, made: str) -> onnx.NodeProto:
    return helper.make_node("Relu", [source], [made], f"relu_{made}")


def crossing(found: Analysis) -> list[list[str]]:
    return [[tensor.name for tensor in cut.tensors] for cut in found.cuts]


def test_an_activation_stays_with_what_it_follows() -> None:
    found = analysed([mul("x", "a"), relu("a", "b"), mul("b", "c"), relu("c", "y")], ["y"])
    assert crossing(found) == [["x"], ["b"], ["y"]]
    assert [(block.first_node, block.last_node) for block in found.blocks] == [(0, 2), (2, 4)]


def test_what_shrinks_a_tensor_is_done_before_it_is_sent() -> None:
    shrink = helper.make_node("ReduceMax", ["a"], ["small"], "shrink", keepdims=1)
    grow = helper.make_node("Add", ["small", "w"], ["big"], "grow")
    found = analysed([mul("x", "a"), shrink, grow, mul("big", "y")], ["y"])
    assert crossing(found) == [["x"], ["small"], ["y"]]


def test_a_skip_connection_crosses_beside_the_main_path() -> None:
    nodes = [mul("x", "a"), mul("a", "b"), mul("b", "c"), helper.make_node("Add", ["c", "a"], ["y"], "skip")]
    assert crossing(analysed(nodes, ["y"])) == [["x"], ["a"], ["a", "b"], ["y"]]


def test_an_output_made_early_and_an_input_needed_late_cross_every_cut_between() -> None:
    nodes = [mul("x", "early"), mul("early", "b"), mul("b", "c"), helper.make_node("Add", ["c", "hint"], ["y"], "late")]
    found = analysed(nodes, ["y", "early"], inputs=("x", "hint"))
    assert crossing(found) == [["x", "hint"], ["hint", "early"], ["hint", "early", "b"], ["y", "early"]]


def test_a_position_crossed_by_five_tensors_is_no_cut_point() -> None:
    wide = [mul("x", f"t{i}") for i in range(MAX_CUT_TENSORS + 1)]
    joined = helper.make_node("Sum", [node.output[0] for node in wide], ["s"], "join")
    found = analysed([*wide, joined, mul("s", "y")], ["y"])
    assert [len(names) for names in crossing(found)] == [1, 2, 3, 4, 1, 1]


def test_a_graph_that_is_too_wide_everywhere_is_one_block_and_says_why() -> None:
    wide = [relu("x", f"t{i}") for i in range(MAX_CUT_TENSORS + 1)]
    heavy = [mul(node.output[0], f"m{i}") for i, node in enumerate(wide)]
    found = analysed([*wide, *heavy], [node.output[0] for node in heavy])
    assert len(found.blocks) == 1
    assert "no legal cut point" in found.notes[0]
    assert "crossed by 1 to 4" in found.notes[0] or "more than 4" in found.notes[0]


def test_a_graph_that_never_multiplies_is_one_block_and_says_why() -> None:
    found = analysed([relu("x", "a"), relu("a", "y")], ["y"])
    assert len(found.blocks) == 1
    assert "no two of its operators multiply" in found.notes[0]


def test_control_flow_is_one_node_whose_captured_tensors_are_alive_until_it() -> None:
    def branch(name: str, operator: str) -> onnx.GraphProto:
        node = helper.make_node(operator, ["a", "b"], [name])
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4])])

    choose = helper.make_node(
        "If", ["flag"], ["c"], "choose", then_branch=branch("t", "Add"), else_branch=branch("e", "Sub")
    )
    flag = helper.make_node("Cast", ["one"], ["flag"], "flag", to=TensorProto.BOOL)
    total = helper.make_node("ReduceSum", ["x"], ["one"], "one", keepdims=0)
    found = analysed([mul("x", "a"), mul("a", "b"), total, flag, choose, mul("c", "y")], ["y"])
    # `one` is 4 bytes and `flag` 1, so between the products and the If the latest position carries least.
    assert crossing(found) == [["x"], ["x", "a"], ["a", "b", "flag"], ["c"], ["y"]]
    assert "If" in found.notes[0]


def test_an_output_without_a_static_shape_is_refused_by_name() -> None:
    with pytest.raises(GraphError, match=r"output 'y' has no static shape"):
        analysed([helper.make_node("NonZero", ["x"], ["y"], "nz")], ["y"])


def test_an_element_type_that_frames_do_not_carry_is_refused_by_name() -> None:
    whole = model([helper.make_node("Cast", ["x"], ["y"], "cast", to=TensorProto.BFLOAT16)], ["y"])
    whole.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.BFLOAT16, [1, 4]))
    with pytest.raises(GraphError, match=r"output 'y' cannot cross the wire.*float32"):
        analyse(whole)


def test_a_tensor_that_cannot_cross_closes_the_positions_it_lives_across() -> None:
    there = helper.make_node("Cast", ["a"], ["half"], "there", to=TensorProto.BFLOAT16)
    back = helper.make_node("Cast", ["half"], ["b"], "back", to=TensorProto.FLOAT)
    found = analysed(
        [mul("x", "a"), there, mul("x", "m"), back, helper.make_node("Add", ["b", "m"], ["y"], "add")], ["y"]
    )
    # The bfloat16 tensor is alive where the cheapest cut would be; the one before it is taken.
    assert crossing(found) == [["x"], ["x", "a"], ["y"]]


@st.composite
def random_graphs(draw: st.DrawFn) -> tuple[list[onnx.NodeProto], list[str]]:
    """Any DAG of products, sums and activations, with any outputs."""
    made = ["x"]
    nodes: list[onnx.NodeProto] = []
    for i in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from(["mul", "relu", "add"]))
        one, two = draw(st.sampled_from(made)), draw(st.sampled_from(made))
        name = f"t{i}"
        nodes.append(
            mul(one, name)
            if kind == "mul"
            else relu(one, name)
            if kind == "relu"
            else helper.make_node("Add", [one, two], [name], f"add_{name}")
        )
        made.append(name)
    outputs = draw(st.lists(st.sampled_from(made[1:]), min_size=1, max_size=3, unique=True))
    return nodes, outputs


@settings(max_examples=150, deadline=None)
@given(random_graphs())
def test_whatever_the_graph_each_cut_carries_exactly_what_the_rest_needs(
    case: tuple[list[onnx.NodeProto], list[str]],
) -> None:
    nodes, outputs = case
    found = analysed(nodes, outputs)
    edges = [block.first_node for block in found.blocks] + [found.blocks[-1].last_node]
    assert edges[0] == 0
    assert edges[-1] == len(nodes)
    for position, cut in list(zip(edges, found.cuts, strict=True))[1:-1]:
        before = {"x"} | {name for node in nodes[:position] for name in node.output}
        needed = {name for node in nodes[position:] for name in reads(node)} | set(outputs)
        assert {tensor.name for tensor in cut.tensors} == before & needed
        assert 1 <= len(cut.tensors) <= MAX_CUT_TENSORS
    assert all(any(node.op_type == "MatMul" for node in nodes[b.first_node : b.last_node]) for b in found.blocks[:-1])


def test_mobilenet_is_cut_inside_its_residual_blocks_too(imported: Callable[[str], ModelCard]) -> None:
    card = imported("mobilenet_v2")
    assert len(card.blocks) == 54
    assert {len(cut.tensors) for cut in card.cuts} == {1, 2}


def test_inception_is_cut_across_its_branches(imported: Callable[[str], ModelCard]) -> None:
    card = imported("inception_v3")
    assert max(len(cut.tensors) for cut in card.cuts) == MAX_CUT_TENSORS
    assert len(card.blocks) > 80


def test_peak_activations_are_what_lives_around_the_largest_node(imported: Callable[[str], ModelCard]) -> None:
    blocks = imported("mobilenet_v2").blocks
    # 96 channels of 112 x 112 before and after a ReLU6.
    assert max(block.peak_activation_bytes for block in blocks) == 2 * 96 * 112 * 112 * 4
