"""Models that are quick here: a real one where figures count, and a small one that needs no PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.importer import import_model
from models.library import Library
from schemas.model import ModelCard

PickModel = Callable[[Library, bool], ModelCard]
"""From a library, and whether it should be quick, to a model's card."""
REAL: Final = "mobilenet_v2"
SMALL: Final = "hourglasses"
_CHANNELS: Final = 8
_WIDE: Final = 384
_SIDE: Final = 32
_LAYERS: Final = 6


def small_or_real(library: Library, quick: bool) -> ModelCard:
    """MobileNetV2 with random weights; the small model when it should be quick."""
    name = SMALL if quick else REAL
    known = library.cards().get(name)
    if known is not None:
        return known
    return import_onnx(hourglasses(), SMALL, library) if quick else import_model(REAL, library, weights="random")


def import_onnx(model: onnx.ModelProto, name: str, library: Library) -> ModelCard:
    """Import a model made here."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        onnx.save(model, path)
        return import_model(str(path), library)


def hourglasses() -> onnx.ModelProto:
    """Six times wide and narrow again: about 6 ms of a core, 32 KiB at each narrow place, float32 [1,8,32,32].

    Weights are random and always the same; outputs stay near one, so that a wrong answer is far from a right one.
    """
    draw = np.random.default_rng(5)
    shape = [1, _CHANNELS, _SIDE, _SIDE]
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def convolution(source: str, target: str, inward: int, outward: int) -> None:
        scale = np.sqrt(2 / (inward * 9))
        weight = (draw.standard_normal((outward, inward, 3, 3)) * scale).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"{target}_weight"))
        nodes.append(helper.make_node("Conv", [source, f"{target}_weight"], [target], target, pads=[1, 1, 1, 1]))

    for layer in range(_LAYERS):
        convolution("x" if layer == 0 else f"y{layer - 1}", f"a{layer}", _CHANNELS, _WIDE)
        nodes.append(helper.make_node("Relu", [f"a{layer}"], [f"b{layer}"], f"relu{layer}"))
        convolution(f"b{layer}", f"y{layer}", _WIDE, _CHANNELS)
    graph = helper.make_graph(
        nodes,
        SMALL,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"y{_LAYERS - 1}", TensorProto.FLOAT, shape)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
