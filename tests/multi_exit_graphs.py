"""Small networks with exits as ONNX graphs, for tests of whatever reads, cuts or runs them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.exits.declared import Declared, DeclaredExit, write_declared
from schemas.model import OperatingPoint

CLASSES = 5
CHANNELS = 4
SIZE = 8


def multi_exit_model(
    exits: Mapping[str, int] | None = None,
    *,
    layers: int = 5,
    skips: Collection[int] = (),
    pools: Collection[int] = (),
    deep_heads: Collection[str] = (),
    heads_last: bool = True,
    thresholds: Mapping[str, float] | None = None,
    points: tuple[OperatingPoint, ...] = (),
    channels: int = CHANNELS,
    size: int = SIZE,
    seed: int = 0,
) -> onnx.ModelProto:
    """A row of 3x3 convolutions with ReLU, from `image` float32 [1,3,size,size] to `logits` float32 [1,CLASSES].

    Args:
        exits: by name, the layer whose output the head reads (1 to `layers`); two of them by default.
        layers: convolutions of the backbone.
        skips: layers (from the second) to whose output their input is added.
        pools: layers whose output is halved in height and width.
        deep_heads: exits whose head has a convolution of its own.
        heads_last: whether their nodes stand behind all others, as exporters put them, or where they read.
        thresholds: by exit; 0.5 by default.
        points: declared with the exits.
        channels: of every layer.
        size: of the image.
        seed: of the weights.
    """
    exits = {"early": 1, "late": 3} if exits is None else exits
    rng = np.random.default_rng(seed)
    weights: list[TensorProto] = []

    def weight(name: str, *shape: int, gain: float = 1.0) -> str:
        fan_in = int(np.prod(shape[1:]))
        values = rng.standard_normal(shape) * gain / np.sqrt(fan_in)
        weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def head(read: str, name: str, made: str, *, deep: bool) -> list[onnx.NodeProto]:
        nodes = []
        if deep:
            kernel = weight(f"{name}.conv", channels, channels, 3, 3, gain=2.0)
            nodes.append(helper.make_node("Conv", [read, kernel], [f"{name}_c"], f"{name}/conv", pads=[1, 1, 1, 1]))
            nodes.append(helper.make_node("Relu", [f"{name}_c"], [f"{name}_r"], f"{name}/relu"))
            read = f"{name}_r"
        linear = weight(f"{name}.linear", CLASSES, channels, gain=6.0)
        return [
            *nodes,
            helper.make_node("GlobalAveragePool", [read], [f"{name}_p"], f"{name}/pool"),
            helper.make_node("Flatten", [f"{name}_p"], [f"{name}_f"], f"{name}/flatten"),
            helper.make_node("Gemm", [f"{name}_f", linear], [made], f"{name}/linear", transB=1),
        ]

    backbone: list[onnx.NodeProto] = []
    behind: list[onnx.NodeProto] = []
    now = "image"
    for k in range(1, layers + 1):
        kernel = weight(f"w{k}", channels, 3 if k == 1 else channels, 3, 3, gain=1.5)
        backbone.append(helper.make_node("Conv", [now, kernel], [f"c{k}"], f"conv{k}", pads=[1, 1, 1, 1]))
        backbone.append(helper.make_node("Relu", [f"c{k}"], [f"r{k}"], f"relu{k}"))
        before, now = now, f"r{k}"
        if k in skips and k > 1:
            backbone.append(helper.make_node("Add", [now, before], [f"s{k}"], f"skip{k}"))
            now = f"s{k}"
        if k in pools:
            options = {"kernel_shape": [2, 2], "strides": [2, 2]}
            backbone.append(helper.make_node("MaxPool", [now], [f"m{k}"], f"pool{k}", **options))
            now = f"m{k}"
        for name in (name for name, layer in exits.items() if layer == k):
            nodes = head(now, name, f"{name}_logits", deep=name in deep_heads)
            (behind if heads_last else backbone).extend(nodes)
    backbone += head(now, "final", "logits", deep=False)
    graph = helper.make_graph(
        [*backbone, *behind],
        "multi_exit",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, size, size])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, CLASSES])
            for name in ("logits", *(f"{name}_logits" for name in exits))
        ],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    said = thresholds or {}
    declared = tuple(DeclaredExit(name=name, output=f"{name}_logits", threshold=said.get(name, 0.5)) for name in exits)
    write_declared(model, Declared(exits=declared, points=points))
    return model
