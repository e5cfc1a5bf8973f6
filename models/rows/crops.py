"""Cropping a tensor inside a band, where one of its readers needs fewer rows than another.

A Slice does it. But on a CPU, ONNX Runtime keeps what lies between convolutions in blocks of channels, which a Slice
cannot read: tensors are rearranged before and after it, and a sum behind it is no longer computed inside the
convolution before it, which rounds differently (measured: ResNet18 and MobileNetV2 off by up to 1e-5). A depthwise
convolution whose window is a single 1 among zeros crops without leaving those blocks, and then bands are exact to the
last bit. Zero times infinity is not zero: a network whose activations overflow answers NaN in a few more rows.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.rows.chain import RowTensor
from models.rows.specs import OUTPUT_AXIS

_MOST_ROWS: Final = 32
"""That a window cuts away; beyond that, multiplying with zeros would begin to cost."""


def fits_window(tensor: RowTensor, above: int, below: int) -> bool:
    """Whether a window can cut these rows from a tensor: a feature map of float32."""
    picture = len(tensor.shape) == 4 and tensor.axis == OUTPUT_AXIS and tensor.dtype == "float32"
    return picture and above + below <= _MOST_ROWS


def crop_by_window(
    name: str, part: str, tensor: RowTensor, above: int, below: int
) -> tuple[onnx.NodeProto, TensorProto]:
    """A convolution that cuts rows away above and below, and its weight."""
    channels = tensor.shape[1]
    window = np.zeros((channels, 1, above + below + 1, 1), np.float32)
    window[:, :, above] = 1
    weight = numpy_helper.from_array(window, f"{part}/window")
    return helper.make_node("Conv", [name, weight.name], [part], part, group=channels), weight


def crop_by_slice(
    name: str, part: str, axis: int, kept: tuple[int, int], opset: int
) -> tuple[onnx.NodeProto, list[TensorProto]]:
    """A Slice that keeps rows `[first, last)` of what is there, and the constants that it reads."""
    bounds = {"starts": kept[0], "ends": kept[1], "axes": axis}
    if opset < 10:
        node = helper.make_node("Slice", [name], [part], part)
        node.attribute.extend(helper.make_attribute(key, [number]) for key, number in bounds.items())
        return node, []
    constants = [helper.make_tensor(f"{part}/{key}", TensorProto.INT64, [1], [n]) for key, n in bounds.items()]
    return helper.make_node("Slice", [name, *(one.name for one in constants)], [part], part), constants
