"""What AMP4EC takes a layer to cost: the multiplications of its kernel, whatever it slides over.

A convolution costs `k_h * k_w * C_in * C_out`, a fully connected layer `N_in * N_out`, any other layer its number of
parameters [C] (AMP4EC, arXiv 2504.00407). Groups and the size of the picture do not enter: a depthwise convolution
counts like a full one, and a late layer with many channels like far more work than it is. `models.macs` counts the
real work; this number is kept so that the published partitioner can be run as it is.

On an exported graph instead of PyTorch's modules [R]: batch normalisations that the exporter folded into convolutions
are gone, with their 2 * C parameters; parameters of other layers are the float constants with at least one dimension
that a node reads (scalars are bounds and exponents).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import onnx
from onnx import TensorProto

from models.macs import CONTROL_FLOW, Shape
from models.proto import bodies, reads

_FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})
_CONVOLUTIONS: Final = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
_CONNECTED: Final = {"Gemm": 1, "MatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3}
"""Which input holds the weight."""


def parameters(graph: onnx.GraphProto) -> dict[str, Shape]:
    """Shapes of the float constants of a graph that have at least one dimension, by name."""
    return {
        tensor.name: tuple(tensor.dims) for tensor in graph.initializer if tensor.dims and tensor.data_type in _FLOATS
    }


def node_layer_cost(node: onnx.NodeProto, constants: Mapping[str, Shape], floats: Mapping[str, Shape]) -> int:
    """Layer cost of `node`; 0 for one without weights. Nodes with subgraphs add up the nodes inside.

    Args:
        node: any node of the graph.
        constants: shapes of the graph's constants by name, of whatever element type.
        floats: those that count as parameters (`parameters`).
    """
    if node.op_type in CONTROL_FLOW:
        return sum(node_layer_cost(inner, constants, floats) for body in bodies(node) for inner in body.node)
    place = (_CONVOLUTIONS | _CONNECTED).get(node.op_type)
    if place is not None and len(node.input) > place and node.input[place] in constants:
        # The weight of a convolution is [C_out, C_in / groups, *kernel].
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        return math.prod(constants[node.input[place]]) * (groups if node.op_type in _CONVOLUTIONS else 1)
    # The running mean and variance of a batch normalisation are no parameters.
    names = node.input[1:3] if node.op_type == "BatchNormalization" else dict.fromkeys(reads(node))
    return sum(math.prod(floats[name]) for name in names if name in floats)
