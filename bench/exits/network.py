"""A made-up network whose inputs are easy or hard on purpose: the brighter a picture, the surer every head.

The first channel of every layer hands the brightness of the picture's first channel on, untouched; all others compute
what a network of that size computes, with made-up weights. Heads read that one channel, later heads more sharply, so
how many requests leave where is decided by whoever makes the pictures. Nothing is learned, and nothing is recognised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.exits.declared import Declared, DeclaredExit, write_declared
from schemas.codec import Array
from schemas.model import OperatingPoint

CLASSES: Final = 10
THRESHOLD: Final = 0.8
EXITS: Final[Mapping[str, int]] = {"exit1": 4, "exit2": 8}
"""By name, the layer that each head reads. So deep that the right cut for easy inputs and the right one for hard ones
are far apart: moving saves 30 to 40 % of the time per request by design, twice the planner's margin, which is there for
gains that nobody could rely on."""
_SHARPER: Final = 8.0
"""What a head multiplies brightness by, for every head so far."""
EASY: Final = (0.8, 1.0)
MIDDLING: Final = (0.3, 0.4)
HARD: Final = (0.0, 0.1)
"""From, to: brightness of pictures that leave at the first exit, at the second, and at none."""


def bright_network(
    *, layers: int = 14, channels: int = 64, size: int = 64, exits: Mapping[str, int] = EXITS, seed: int = 0
) -> onnx.ModelProto:
    """From `image` float32 [1,3,size,size] to `logits` float32 [1,10]: a stem that halves it, then 3x3 convolutions.

    Args:
        layers: of the backbone, the stem being the first.
        channels: of each; as many as make blocks of milliseconds on a fraction of a core, by default: what frames cost
            beside them must not decide the cut.
        size: of the picture; even.
        exits: by name, the layer whose output the head reads, in order.
        seed: of the made-up weights.
    """
    rng = np.random.default_rng(seed)
    weights: list[TensorProto] = []
    nodes: list[onnx.NodeProto] = []
    now, width, before = "image", 3, 0
    outputs = ["logits"]
    for layer in range(1, layers + 1):
        kernel = rng.standard_normal((channels, width, 3, 3)) * np.sqrt(2 / (9 * width))
        kernel[0] = 0.0
        kernel[0, 0, 1, 1] = 1.0
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"w{layer}"))
        strides = [2, 2] if layer == 1 else [1, 1]
        nodes.append(
            helper.make_node("Conv", [now, f"w{layer}"], [f"c{layer}"], f"conv{layer}", pads=[1] * 4, strides=strides)
        )
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"], f"relu{layer}"))
        now, width = f"r{layer}", channels
        for name in (name for name, where in exits.items() if where == layer):
            before += 1
            nodes += _head(now, name, f"{name}_logits", channels, sharpness=_SHARPER * before, weights=weights)
            outputs.append(f"{name}_logits")
    nodes += _head(now, "final", "logits", channels, sharpness=_SHARPER * (before + 1), weights=weights)
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, CLASSES]) for name in outputs],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    declared = tuple(DeclaredExit(name=name, output=f"{name}_logits", threshold=THRESHOLD) for name in exits)
    write_declared(model, Declared(exits=declared, points=_points(len(exits))))
    return model


def pictures(kind: tuple[float, float], count: int, *, size: int = 64, seed: int = 0) -> list[Array]:
    """So many made-up pictures of one kind, float32 [1,3,size,size]."""
    rng = np.random.default_rng(seed)
    made: list[Array] = []
    for brightness in rng.uniform(*kind, count):
        picture = rng.uniform(0.0, 1.0, (1, 3, size, size))
        picture[:, 0] = brightness
        made.append(picture.astype(np.float32))
    return made


def _points(exits: int) -> tuple[OperatingPoint, ...]:
    """What "validation data" says that is half easy and a quarter middling; all heads say the same class."""
    shares: Sequence[float] = (0.5, 0.25, *[0.0] * exits)
    return (OperatingPoint(thresholds=(THRESHOLD,) * exits, shares=tuple(shares[:exits]), accuracy=1.0),)


def _head(
    read: str, name: str, made: str, channels: int, *, sharpness: float, weights: list[TensorProto]
) -> list[onnx.NodeProto]:
    linear = np.zeros((CLASSES, channels), np.float32)
    linear[0, 0] = sharpness
    weights.append(numpy_helper.from_array(linear, f"{name}.linear"))
    return [
        helper.make_node("GlobalAveragePool", [read], [f"{name}_p"], f"{name}/pool"),
        helper.make_node("Flatten", [f"{name}_p"], [f"{name}_f"], f"{name}/flatten"),
        helper.make_node("Gemm", [f"{name}_f", f"{name}.linear"], [made], f"{name}/linear", transB=1),
    ]
