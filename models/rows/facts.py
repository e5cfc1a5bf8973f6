"""What a graph says of its tensors: shapes, element types, and constants that are axes or paddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import onnx
from onnx import numpy_helper

from models.macs import Shape
from models.proto import numpy_name

_SMALL: Final = 64
"""Constants of more numbers are no list of axes or paddings."""


def static_shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    """Shapes by name, of tensors whose shape is known and fixed; weights included."""
    shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in _values(graph):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
    return shapes


def element_types(graph: onnx.GraphProto) -> dict[str, str]:
    """numpy's names of element types, by tensor."""
    return {value.name: numpy_name(value.type.tensor_type.elem_type) for value in _values(graph)}


def small_numbers(graph: onnx.GraphProto) -> dict[str, Sequence[int]]:
    """Small constants of whole numbers, by name: axes, paddings. Those in blobs are not opened.

    Raises:
        ValueError: one whose data does not fit its shape.
    """
    kinds = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
    return {
        tensor.name: [int(number) for number in numpy_helper.to_array(tensor).ravel()]
        for tensor in graph.initializer
        if tensor.data_type in kinds
        and tensor.data_location != onnx.TensorProto.EXTERNAL
        and len(tensor.dims) < 2
        and sum(tensor.dims) <= _SMALL
    }


def _values(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    yield from (*graph.value_info, *graph.output, *graph.input)
