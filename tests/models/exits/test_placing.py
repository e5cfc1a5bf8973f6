"""Where heads stand in a graph, which cuts that gives, and exits that a model cannot have."""

from __future__ import annotations

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multi_exit_graphs import CHANNELS, CLASSES, multi_exit_model
from onnx import TensorProto, helper, shape_inference

from models.exits.declared import DeclaredExit, ExitError, read_declared
from models.exits.placing import place_heads
from models.graph import Analysis, analyse
from models.proto import reads
from models.tidy import tidy


def placed(model: onnx.ModelProto, exits: tuple[DeclaredExit, ...] | None = None) -> tuple[onnx.ModelProto, Analysis]:
    """The graph with its heads in place, and its blocks and cuts."""
    declared = read_declared(model).exits if exits is None else exits
    model = tidy(model)
    heads = place_heads(model, declared)
    return model, analyse(shape_inference.infer_shapes(model, data_prop=True), heads)


def names_across(found: Analysis) -> list[tuple[str, ...]]:
    return [tuple(tensor.name for tensor in cut.tensors) for cut in found.cuts]


def exit_at(name: str, output: str) -> DeclaredExit:
    return DeclaredExit(name=name, output=output, threshold=0.5)


def test_a_head_ends_the_block_that_makes_what_it_reads() -> None:
    model, found = placed(multi_exit_model({"early": 1, "late": 3}, layers=4))
    made = [[node.name for node in model.graph.node[block.first_node : block.last_node]] for block in found.blocks]
    assert made == [
        ["conv1", "relu1", "early/pool", "early/flatten", "early/linear"],
        ["conv2", "relu2"],
        ["conv3", "relu3", "late/pool", "late/flatten", "late/linear"],
        ["conv4", "relu4", "final/pool", "final/flatten"],
        ["final/linear"],
    ]
    assert [(one.name, one.block, one.output.name) for one in found.exits] == [
        ("early", 0, "early_logits"),
        ("late", 2, "late_logits"),
    ]


def test_what_a_head_gives_is_no_output_of_the_model_and_crosses_no_cut() -> None:
    model, found = placed(multi_exit_model())
    assert [value.name for value in model.graph.output] == ["logits"]
    assert [spec.name for spec in found.outputs] == ["logits"]
    assert not any("_logits" in name for names in names_across(found) for name in names)


def test_a_head_counts_its_own_multiplications() -> None:
    _, found = placed(multi_exit_model({"early": 1}, deep_heads=["early"]))
    assert found.exits[0].macs == CHANNELS * CHANNELS * 9 * 64 + CHANNELS * CLASSES


def test_an_exit_behind_the_last_layer_but_before_the_classifier_is_one_too() -> None:
    _, found = placed(multi_exit_model({"last": 3}, layers=3))
    assert found.exits[0].block == 2
    assert len(found.blocks) == 5


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_model_has_the_cuts_of_its_backbone_and_one_behind_each_head(data: st.DataObject) -> None:
    layers = data.draw(st.integers(1, 6), "layers")
    where = data.draw(st.lists(st.integers(1, layers), unique=True, max_size=4).map(sorted), "where")
    exits = {f"e{layer}": layer for layer in where}
    skips = data.draw(st.sets(st.integers(2, 6)), "skips")
    pools = data.draw(st.sets(st.integers(1, 6), max_size=2), "pools")
    deep = data.draw(st.sets(st.sampled_from(sorted(exits) or ["none"])), "deep")
    last = data.draw(st.booleans(), "heads last")
    model, found = placed(
        multi_exit_model(exits, layers=layers, skips=skips, pools=pools, deep_heads=deep, heads_last=last)
    )
    _, alone = placed(multi_exit_model({}, layers=layers, skips=skips, pools=pools))
    across = names_across(found)
    assert [names for names in across if names in names_across(alone)] == names_across(alone)
    assert len(across) <= len(alone.cuts) + len(exits)
    nodes = model.graph.node
    known = {"image"} | {tensor.name for tensor in model.graph.initializer}
    for node in nodes:
        assert known.issuperset(reads(node))
        known.update(node.output)
    for one in found.exits:
        end = found.blocks[one.block].last_node
        assert nodes[end - 1].output[0] == one.output.name
        rest = {name for node in nodes[end:] for name in reads(node)}
        before = {"image"} | {name for node in nodes[:end] for name in node.output}
        assert set(across[one.block + 1]) == rest & before


# --- exits that a model cannot have ----------------------------------------------------------------------------------
def with_head(*nodes: onnx.NodeProto, shape: tuple[int, ...] = (1, CLASSES)) -> onnx.ModelProto:
    """A network of four layers, and nodes that make `x` of that shape."""
    model = multi_exit_model({}, layers=4)
    model.graph.node.extend(nodes)
    model.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))
    return model


def to_classes(read: str, made: str = "x") -> list[onnx.NodeProto]:
    """A head from any feature map, without weights of its own."""
    return [
        helper.make_node("GlobalAveragePool", [read], [f"{made}p"], f"{made}/pool"),
        helper.make_node("Flatten", [f"{made}p"], [f"{made}f"], f"{made}/flatten"),
        helper.make_node("Gemm", [f"{made}f", "final.linear"], [made], f"{made}/linear", transB=1),
    ]


def refused(model: onnx.ModelProto, *exits: DeclaredExit) -> str:
    with pytest.raises(ExitError) as told:
        placed(model, exits)
    assert len(str(told.value)) < 600
    return str(told.value)


def test_a_head_that_reads_two_layers_is_at_no_legal_cut() -> None:
    both = helper.make_node("Add", ["r1", "r3"], ["sum"], "both")
    model = with_head(both, *to_classes("sum"))
    assert "exit deep is at no legal cut: it reads r1, r3" in refused(model, exit_at("deep", "x"))


def test_a_head_may_read_two_layers_where_both_cross_one_cut() -> None:
    both = helper.make_node("Add", ["r1", "r2"], ["sum"], "both")
    model = multi_exit_model({}, layers=4, skips=[3])
    skip = next(node for node in model.graph.node if node.name == "skip3")
    skip.input[1] = "r1"
    model.graph.node.extend([both, *to_classes("sum")])
    model.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CLASSES]))
    _, found = placed(model, (exit_at("two", "x"),))
    assert sorted(names_across(found)[found.exits[0].block + 1]) == ["r1", "r2"]


def test_a_head_that_reads_nothing_that_the_model_makes_is_at_no_legal_cut() -> None:
    nothing = helper.make_node("RandomNormal", [], ["x"], "dice", shape=[1, CLASSES])
    assert "it reads nothing" in refused(with_head(nothing), exit_at("dice", "x"))


def test_a_head_that_reads_the_answer_comes_too_late() -> None:
    late = helper.make_node("Relu", ["logits"], ["x"], "late")
    assert "at no legal cut: it reads logits" in refused(with_head(late), exit_at("late", "x"))


def test_a_head_where_too_many_tensors_cross_is_at_no_legal_cut() -> None:
    branches = [helper.make_node("Relu", ["image"], [f"t{i}"], f"branch{i}") for i in range(5)]
    model = multi_exit_model({}, layers=2)
    model.graph.node[0].input[0] = "joined"
    rest = list(model.graph.node)
    del model.graph.node[:]
    join = helper.make_node("Sum", [f"t{i}" for i in range(5)], ["joined"], "join")
    head = [
        helper.make_node("Add", ["t0", "t4"], ["ends"], "ends"),
        *to_classes("ends"),
    ]
    head[-1].input[1] = "thin"
    model.graph.node.extend([*branches, join, *rest, *head])
    model.graph.initializer.append(helper.make_tensor("thin", TensorProto.FLOAT, [CLASSES, 3], [0.1] * 3 * CLASSES))
    model.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CLASSES]))
    assert "too many tensors cross" in refused(model, exit_at("wide", "x"))


def test_an_output_that_is_not_there_is_named() -> None:
    told = refused(multi_exit_model({"early": 1}), exit_at("early", "elsewhere"))
    assert "'elsewhere', which is no output of the graph: it has logits, early_logits" in told


def test_a_model_with_two_outputs_of_its_own_can_have_no_exits() -> None:
    model = multi_exit_model({"early": 1, "late": 2})
    assert "this one has logits, late_logits" in refused(model, exit_at("early", "early_logits"))


def test_a_model_all_of_whose_outputs_are_exits_is_refused() -> None:
    model = multi_exit_model({"early": 1})
    assert "has nothing" in refused(model, exit_at("a", "logits"), exit_at("b", "early_logits"))


def test_a_head_with_other_classes_than_the_model_is_refused() -> None:
    nodes = to_classes("r1")
    nodes[2] = helper.make_node("Identity", ["xf"], ["x"], "short")
    told = refused(with_head(*nodes, shape=(1, CHANNELS)), exit_at("short", "x"))
    assert "exit short gives x float32[1x4], the model logits float32[1x5]" in told


def test_logits_of_more_than_one_answer_are_refused() -> None:
    model = multi_exit_model({}, layers=2)
    del model.graph.node[-3:]
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("r2", TensorProto.FLOAT, [1, CHANNELS, 8, 8]))
    model.graph.node.append(helper.make_node("Sigmoid", ["r1"], ["x"], "dense"))
    model.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS, 8, 8]))
    assert "one row of logits only" in refused(model, exit_at("dense", "x"))


def test_heads_that_share_nodes_are_refused() -> None:
    model = with_head(*to_classes("r1"))
    model.graph.node.append(helper.make_node("Relu", ["x"], ["y"], "y"))
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CLASSES]))
    assert "exits one and two share nodes" in refused(model, exit_at("one", "x"), exit_at("two", "y"))


@pytest.mark.parametrize(("one", "two"), [(3, 1), (2, 2)])
def test_exits_out_of_order_or_at_the_same_cut_are_refused(one: int, two: int) -> None:
    model = multi_exit_model({"one": one, "two": two}, layers=4)
    told = refused(model, *read_declared(model).exits)
    assert "exit two is at no legal cut behind exit one: declare exits in the order" in told


def test_an_exit_from_which_the_model_itself_goes_on_leaves_with_a_copy() -> None:
    model = with_head(*to_classes("r1"))
    last = next(node for node in model.graph.node if node.name == "final/linear")
    last.output[0] = "before"
    model.graph.node.append(helper.make_node("Add", ["before", "x"], ["logits"], "together"))
    after, found = placed(model, (exit_at("early", "x"),))
    assert found.exits[0].output.name == "exit/early"
    end = found.blocks[found.exits[0].block].last_node
    assert after.graph.node[end - 1].op_type == "Identity"
    assert "x" in names_across(found)[found.exits[0].block + 1]
