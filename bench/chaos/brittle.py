"""A model that is sound on every ordinary input and raises on one: what people's own models do now and then.

It looks a gain up by the brightest spot of what its convolutions made of the picture. The table has room for any
picture; a single pixel that is far out of range asks for a row that is not there, and the runtime raises in the last
stage. Nothing of the product knows of it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from schemas.codec import Array

NAME: Final = "brittle"
SHAPE: Final = (1, 8, 24, 24)
_LAYERS: Final = 6
_GAINS: Final = 1024
_FAR_OUT: Final = 1e9


def brittle_model() -> onnx.ModelProto:
    """Six convolutions with ReLU and a cut after each, then the gain."""
    draw = np.random.default_rng(3)
    nodes, weights = [], []
    for layer in range(_LAYERS):
        kernel = (draw.standard_normal((8, 8, 3, 3)) / 8).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{layer}"))
        source = "x" if layer == 0 else f"h{layer}"
        nodes.append(helper.make_node("Conv", [source, f"w{layer}"], [f"c{layer}"], f"conv{layer}", pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"h{layer + 1}"], f"relu{layer}"))
    seen = f"h{_LAYERS}"
    gains = (1 + draw.random((_GAINS, 1, 1)) / 8).astype(np.float32)
    weights.append(numpy_helper.from_array(gains, "gains"))
    nodes += [
        helper.make_node("ReduceMax", [seen], ["brightest"], "brightest", axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Cast", ["brightest"], ["row"], "row", to=TensorProto.INT64),
        helper.make_node("Gather", ["gains", "row"], ["gain"], "gain", axis=0),
        helper.make_node("Mul", [seen, "gain"], ["y"], "expose"),
    ]
    graph = helper.make_graph(
        nodes,
        NAME,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def ordinary(seed: int) -> Array:
    """One of many inputs that the model answers."""
    array: Array = np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)
    return array


def poisonous() -> Array:
    """The input that it raises on: an ordinary one with one channel's pixels far out of range."""
    array = ordinary(0).copy()
    array[0, :, 12, 12] = _FAR_OUT
    return array
