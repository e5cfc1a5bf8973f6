"""Reads and walks ONNX protobufs: parsing bytes that nobody vouches for, what a node needs, every tensor inside."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto


class NotAGraphError(ValueError):
    """Bytes that are no ONNX model."""


def parse(data: bytes) -> onnx.ModelProto:
    """The model in these bytes. Nothing it refers to is opened.

    Raises:
        NotAGraphError: they are no ONNX model, or one without a graph.
    """
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise NotAGraphError("the bytes are no ONNX model") from error
    # Nearly any short run of bytes parses as a message with unknown fields only.
    if not model.ir_version or not model.graph.node:
        raise NotAGraphError("there is no graph in it")
    return model


def numpy_name(data_type: int) -> str:
    """numpy's name of an ONNX element type; "" where there is none."""
    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(data_type).name)
    except (KeyError, ValueError):
        return ""


def bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The subgraphs of a node (branches of an If, the body of a Loop)."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Every tensor a node needs from its graph: its inputs, and what its subgraphs take from outside."""
    yield from (name for name in node.input if name)
    for body in bodies(node):
        own = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
        for inner in body.node:
            yield from (name for name in reads(inner) if name not in own)
            own.update(inner.output)
        yield from (value.name for value in body.output if value.name not in own)


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and all graphs inside it."""
    yield graph
    for node in graph.node:
        for body in bodies(node):
            yield from graphs(body)


def tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Every tensor stored anywhere in a graph: initializers, attributes, and those of subgraphs."""
    for part in graphs(graph):
        yield from part.initializer
        for sparse in part.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for attribute in (attribute for node in part.node for attribute in node.attribute):
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
