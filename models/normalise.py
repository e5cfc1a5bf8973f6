"""A picture's normalisation as the graph's own first nodes, so that pictures cross the wire as u8, not as float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PREFIX: Final = "normalise/"
"""Name prefix of the nodes added here; `models.graph` makes them the first block."""

PICTURE: Final = "picture"


@dataclass(frozen=True)
class PictureInput:
    """How a picture becomes the model's input: shorter side to `resize`, centre `crop`, then (x/255 - mean) / std."""

    resize: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class NotAPictureInputError(ValueError):
    """The graph's input is not one float32 picture [1, 3, height, width]."""


def take_pictures(model: onnx.ModelProto, picture: PictureInput) -> None:
    """Replace the one input float32 [1,3,H,W] by uint8 [1,H,W,3], called `picture` where that is free; in place.

    Raises:
        NotAPictureInputError: the graph takes something else.
    """
    graph = model.graph
    if len(graph.input) != 1:
        raise NotAPictureInputError(f"a picture model has one input, this one has {len(graph.input)}")
    old = graph.input[0]
    tensor = old.type.tensor_type
    shape = [dim.dim_value for dim in tensor.shape.dim]
    if tensor.elem_type != TensorProto.FLOAT or len(shape) != 4 or shape[:2] != [1, 3] or 0 in shape:
        raise NotAPictureInputError(f"a picture model takes float32 [1,3,H,W]; {old.name!r} is {shape}")
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    name = PICTURE if PICTURE not in taken else PREFIX + PICTURE
    mean = np.asarray(picture.mean, np.float64)
    std = np.asarray(picture.std, np.float64)
    scale = (1 / (255 * std)).astype(np.float32).reshape(1, 3, 1, 1)
    shift = (-mean / std).astype(np.float32).reshape(1, 3, 1, 1)
    steps = [
        # Transposed while still one byte an element: a quarter of the memory traffic.
        helper.make_node("Transpose", [name], [PREFIX + "planes"], PREFIX + "transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", [PREFIX + "planes"], [PREFIX + "float"], PREFIX + "cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", [PREFIX + "float", PREFIX + "scale"], [PREFIX + "scaled"], PREFIX + "scale"),
        helper.make_node("Add", [PREFIX + "scaled", PREFIX + "shift"], [old.name], PREFIX + "shift"),
    ]
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*steps, *rest])
    graph.initializer.append(numpy_helper.from_array(scale, PREFIX + "scale"))
    graph.initializer.append(numpy_helper.from_array(shift, PREFIX + "shift"))
    height, width = shape[2:]
    graph.input[0].CopyFrom(helper.make_tensor_value_info(name, TensorProto.UINT8, [1, height, width, 3]))
