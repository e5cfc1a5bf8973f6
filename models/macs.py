"""Multiply-accumulates of one ONNX node, from shapes: output elements x the products that make each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import onnx
from onnx import helper

from models.proto import bodies

Shape = tuple[int, ...]

CONTROL_FLOW: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})


def node_macs(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    """MACs of `node`; 0 for element-wise and shape operators, and where a shape it takes is not known.

    Nodes with subgraphs count every node inside once.

    Args:
        node: any node of the graph.
        shapes: static shapes by tensor name; tensors without one are left out.
    """
    if node.op_type in CONTROL_FLOW:
        return sum(node_macs(inner, shapes) for body in bodies(node) for inner in body.node)
    rule = _RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if rule is None:
        return 0
    try:
        return rule(node, [shapes[name] for name in node.input if name], shapes[next(iter(node.output))])
    except (KeyError, IndexError, StopIteration):
        return 0


# Rules take the node, the shapes of its inputs in order, and the shape of its first output.


def _conv(_node: onnx.NodeProto, inputs: Sequence[Shape], out: Shape) -> int:
    # The weight is [out channels, in channels / groups, *kernel]: groups are in its shape already.
    return math.prod(out) * math.prod(inputs[1][1:])


def _conv_transpose(_node: onnx.NodeProto, inputs: Sequence[Shape], _out: Shape) -> int:
    # Every input element meets its [out channels / groups, *kernel].
    return math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _gemm(node: onnx.NodeProto, inputs: Sequence[Shape], out: Shape) -> int:
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return math.prod(out) * inputs[0][0 if transposed else -1]


def _matmul(_node: onnx.NodeProto, inputs: Sequence[Shape], out: Shape) -> int:
    return math.prod(out) * inputs[0][-1]


def _recurrent(_node: onnx.NodeProto, inputs: Sequence[Shape], _out: Shape) -> int:
    # x is [steps, batch, in]; W [directions, gates x hidden, in] and R [directions, gates x hidden, hidden].
    return math.prod(inputs[0][:2]) * (math.prod(inputs[1]) + math.prod(inputs[2]))


def _einsum(node: onnx.NodeProto, inputs: Sequence[Shape], _out: Shape) -> int:
    equation = next(helper.get_attribute_value(a) for a in node.attribute if a.name == "equation").decode()
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    if "." in equation or len(terms) < 2:
        return 0
    sizes = {
        letter: size
        for term, shape in zip(terms, inputs, strict=False)
        for letter, size in zip(term, shape, strict=False)
    }
    return math.prod(sizes.values())


_RULES: Final[dict[str, Callable[[onnx.NodeProto, Sequence[Shape], Shape], int]]] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "ConvTranspose": _conv_transpose,
    "DeformConv": _conv,
    # x, its scale and zero point come before the weight.
    "QLinearConv": lambda node, inputs, out: _conv(node, inputs[::3], out),
    "QLinearMatMul": _matmul,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "RNN": _recurrent,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "Einsum": _einsum,
}
