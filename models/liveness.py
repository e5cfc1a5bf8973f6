"""What is alive between the nodes of a graph, and which of it could be sent.

A position p lies before node p of the graph's topological order. Everything produced before p and needed at p or later
is alive there and would have to be sent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import onnx
from onnx import TensorProto

from models.layer_cost import parameters
from models.macs import Shape
from models.proto import numpy_name, reads
from schemas.model import TensorSpec
from schemas.tensors import ITEM_BYTES, as_dtype

MAX_CUT_TENSORS: Final = 4


class GraphError(ValueError):
    """A graph that cannot be served: an input or output that frames cannot carry. Says which and what to do."""


class Tensors:
    """What is known of every tensor of a graph: shapes, wire specs, and the bytes of those that are constants."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        constants = [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]
        self.constants = {tensor.name: _constant_bytes(tensor) for tensor in constants}
        self.weights: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        self.parameters = parameters(graph)
        self.shapes = dict(self.weights)
        self.spec: dict[str, TensorSpec] = {}
        for value in (*graph.value_info, *graph.output, *graph.input):
            tensor = value.type.tensor_type
            dims = list(tensor.shape.dim)
            if not tensor.HasField("shape") or any(not dim.HasField("dim_value") for dim in dims):
                continue
            self.shapes[value.name] = shape = tuple(dim.dim_value for dim in dims)
            dtype = as_dtype(numpy_name(tensor.elem_type))
            if dtype is not None and len(shape) <= 8 and 0 < len(value.name) <= 512:
                self.spec[value.name] = TensorSpec(name=value.name, dtype=dtype, shape=shape)

    def describe(self, name: str, role: str) -> TensorSpec:
        """How frames carry this tensor.

        Raises:
            GraphError: they cannot; `role` says what it is of the model.
        """
        if name in self.spec:
            return self.spec[name]
        if name in self.shapes:
            raise GraphError(
                f"{role} {name[:80]!r} cannot cross the wire: frames carry named tensors of up to 8 dimensions "
                f"of {', '.join(ITEM_BYTES)}; convert it inside the model"
            )
        raise GraphError(
            f"{role} {name[:80]!r} has no static shape; give --input-shape, or export the model with fixed shapes"
        )

    def crosses(self, names: Sequence[str]) -> bool:
        """Whether that is what a cut may carry: one to four tensors, each of a type and a shape that frames carry."""
        return 1 <= len(names) <= MAX_CUT_TENSORS and all(name in self.spec for name in names)

    def nbytes(self, name: str) -> int:
        """Of a tensor that could be sent; 0 of any other."""
        return self.spec[name].nbytes if name in self.spec else 0


def alive_at(graph: onnx.GraphProto) -> Iterator[tuple[str, ...]]:
    """Names alive at each position, 0 to the number of nodes, in order of birth. Constants are never born."""
    last_use = {name: i for i, node in enumerate(graph.node) for name in reads(node)}
    last_use |= {value.name: len(graph.node) for value in graph.output}
    alive = [value.name for value in graph.input if value.name in last_use]
    yield tuple(alive)
    for i, node in enumerate(graph.node):
        alive += [name for name in node.output if name]
        alive = [name for name in alive if last_use.get(name, -1) > i]
        yield tuple(alive)


def _constant_bytes(tensor: TensorProto) -> int:
    dtype = as_dtype(numpy_name(tensor.data_type))
    return math.prod(tensor.dims) * ITEM_BYTES[dtype] if dtype else int(tensor.ByteSize())
