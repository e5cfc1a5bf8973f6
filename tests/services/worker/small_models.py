"""The models that workers are tested with, each a few nodes: made for what is asked of it."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.exits.network import bright_network

WIDE = 1024


def dense_model() -> onnx.ModelProto:
    """Three dense layers with ReLU between; the middle one's weights are 2 MB, several chunks."""
    rng = np.random.default_rng(5)

    def weight(name: str, rows: int, columns: int) -> TensorProto:
        return numpy_helper.from_array(
            (rng.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32), name
        )

    nodes = [
        helper.make_node("Gemm", ["x", "w1"], ["a1"], "dense1", transB=1),
        helper.make_node("Relu", ["a1"], ["h1"], "relu1"),
        helper.make_node("Gemm", ["h1", "w2"], ["a2"], "dense2", transB=1),
        helper.make_node("Relu", ["a2"], ["h2"], "relu2"),
        helper.make_node("Gemm", ["h2", "w3"], ["y"], "dense3", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [weight("w1", WIDE, 64), weight("w2", 512, WIDE), weight("w3", 10, 512)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def lookup_model() -> onnx.ModelProto:
    """Picks a row by number: ONNX Runtime raises when there is no such row."""
    rows = numpy_helper.from_array(np.eye(4, dtype=np.float32), "rows")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["rows", "number"], ["row"], "pick")],
        "lookup",
        [helper.make_tensor_value_info("number", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, [1, 4])],
        [rows],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def slow_model() -> onnx.ModelProto:
    """Three convolutions over 100 KB of input: about ten milliseconds, and little to keep."""
    rng = np.random.default_rng(6)

    def weight(name: str, outputs: int, inputs: int) -> TensorProto:
        values = rng.standard_normal((outputs, inputs, 3, 3)) / np.sqrt(9 * inputs)
        return numpy_helper.from_array(values.astype(np.float32), name)

    def convolution(takes: str, weight: str, gives: str) -> onnx.NodeProto:
        return helper.make_node("Conv", [takes, weight], [gives], gives, kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    graph = helper.make_graph(
        [
            convolution("x", "w1", "h1"),
            convolution("h1", "w2", "h2"),
            convolution("h2", "w3", "h3"),
            helper.make_node("GlobalAveragePool", ["h3"], ["y"], "pool"),
        ],
        "slow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 56, 56])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64, 1, 1])],
        [weight("w1", 64, 8), weight("w2", 64, 64), weight("w3", 64, 64)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def count_model() -> onnx.ModelProto:
    """Counts to its input, one by one: with a large one it does not come back."""
    step = helper.make_graph(
        [
            helper.make_node("Identity", ["more_in"], ["more_out"], "go_on"),
            helper.make_node("Add", ["sum_in", "one"], ["sum_out"], "add"),
        ],
        "step",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("more_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_in", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("more_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_out", TensorProto.FLOAT, [1]),
        ],
        [numpy_helper.from_array(np.ones(1, np.float32), "one")],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Squeeze", ["number"], ["times"], "times"),
            helper.make_node("Loop", ["times", "yes", "zero"], ["sum"], "count", body=step),
        ],
        "count",
        [helper.make_tensor_value_info("number", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.array(True), "yes"), numpy_helper.from_array(np.zeros(1, np.float32), "zero")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def bright_model() -> onnx.ModelProto:
    """Four small convolutions and two exits: bright pictures leave at the first, dark ones at none."""
    return bright_network(layers=4, channels=8, size=16, exits={"exit1": 1, "exit2": 3})


MODELS = {
    "dense": dense_model, "lookup": lookup_model, "slow": slow_model, "count": count_model, "bright": bright_model,
}  # fmt: skip
