"""Multiply-accumulates of one ONNX node, from shapes: output elements x the products that make each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import onnx

Shape = tuple[int, ...]

CONTROL_FLOW: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})


def node_macs(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    """MACs of `node`; 0 for element-wise and shape operators, and where a shape is not known.

    Nodes with subgraphs count every node inside once.

    Args:
        node: any node of the graph.
        shapes: static shapes by tensor name; tensors without one are left out.
    """
    if node.op_type in CONTROL_FLOW:
        bodies = [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
        return sum(node_macs(inner, shapes) for body in bodies for inner in body.node)
    rule = _RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if rule is None:
        return 0
    inputs = [shapes.get(name) for name in node.input]
    outputs = [shapes.get(name) for name in node.output]
    if len(inputs) < 2 or inputs[0] is None or inputs[1] is None or not outputs or outputs[0] is None:
        return 0
    return rule(node, inputs[0], inputs[1], outputs[0])


def _conv(_node: onnx.NodeProto, _x: Shape, weight: Shape, out: Shape) -> int:
    # The weight is [out channels, in channels / groups, *kernel]: groups are in its shape already.
    return math.prod(out) * math.prod(weight[1:])


def _conv_transpose(_node: onnx.NodeProto, x: Shape, weight: Shape, _out: Shape) -> int:
    # Every input element is multiplied by its [out channels / groups, *kernel].
    return math.prod(x) * math.prod(weight[1:])


def _gemm(node: onnx.NodeProto, x: Shape, _weight: Shape, out: Shape) -> int:
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(out) * (x[0] if transposed else x[-1])


def _matmul(_node: onnx.NodeProto, x: Shape, _weight: Shape, out: Shape) -> int:
    return math.prod(out) * x[-1]


_RULES: Final[dict[str, Callable[[onnx.NodeProto, Shape, Shape, Shape], int]]] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
}
