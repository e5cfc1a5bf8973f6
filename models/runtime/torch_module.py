"""An ONNX graph as a torch.fx module: one call of a pure function per node, constants as buffers."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, fx

from models.runtime.torch_elements import DTYPES
from models.runtime.torch_ops import OPERATORS, Operator, UnsupportedOperatorError

_OWN_DOMAINS: Final = ("", "ai.onnx")

Weights = Mapping[str, Tensor]
Value = Tensor | fx.Node
"""A tensor known before the graph runs, or the place in the module that will make one."""


def build_module(model: onnx.ModelProto, weights: Weights | None = None) -> fx.GraphModule:
    """A module from the graph's inputs, in order, to a tuple of its outputs, in order.

    What depends on constants alone is computed here, once. Weights of convolutions are laid out channels-last, which
    is what the CPU's and the GPU's fast kernels want.

    Args:
        model: static shapes; nodes in topological order.
        weights: initializers that are not (or only as placeholders) in the graph itself.

    Raises:
        UnsupportedOperatorError: an operator, or a form of it, that the table does not have.
    """
    graph = model.graph
    builder = _Builder(model, weights or {})
    for value in graph.input:
        builder.placeholder(value.name)
    for node in graph.node:
        builder.add(node)
    return builder.finish([value.name for value in graph.output])


class _Builder:
    def __init__(self, model: onnx.ModelProto, weights: Weights) -> None:
        self._opset = next((entry.version for entry in model.opset_import if entry.domain in _OWN_DOMAINS), 1)
        self._shapes = _static_shapes(model)
        self._graph = fx.Graph()
        self._root = torch.nn.Module()
        self._buffers: dict[str, fx.Node] = {}
        self._values: dict[str, Value] = dict(weights)
        for tensor in model.graph.initializer:
            if tensor.name not in weights:
                self._values[tensor.name] = _tensor(tensor)

    def placeholder(self, name: str) -> None:
        if not isinstance(self._values.get(name), Tensor):
            self._values[name] = self._graph.placeholder(f"x{len(self._graph.nodes)}")

    def add(self, node: onnx.NodeProto) -> None:
        if node.op_type == "Constant":
            self._values[node.output[0]] = _constant(node)
            return
        if node.op_type == "Shape" and node.input[0] in self._shapes:
            self._values[node.output[0]] = _shape(node, self._shapes[node.input[0]])
            return
        function = OPERATORS.get(node.op_type) if node.domain in _OWN_DOMAINS else None
        if function is None:
            raise UnsupportedOperatorError(f"{node.domain}.{node.op_type}".lstrip("."), node.name or node.output[0])
        attributes = self._attributes(node, function)
        inputs = [self._values[name] if name else None for name in node.input]
        if all(value is None or isinstance(value, Tensor) for value in inputs):
            plain = [function.plain(i, value) for i, value in enumerate(inputs)]
            result = function.function(*plain, **attributes)
            made = list(result) if function.many else [result]
        else:
            made = self._call(node, function, inputs, attributes)
        self._values.update(zip(node.output, made, strict=False))

    def _call(
        self, node: onnx.NodeProto, function: Operator, inputs: Sequence[Value | None], attributes: dict[str, Any]
    ) -> list[fx.Node]:
        arguments: list[Any] = []
        for i, (name, value) in enumerate(zip(node.input, inputs, strict=True)):
            if isinstance(value, Tensor):
                known = function.plain(i, value)
                if node.op_type == "Conv" and value.dim() == 4:
                    known = value.contiguous(memory_format=torch.channels_last)
                arguments.append(self._buffer(name, known) if isinstance(known, Tensor) else known)
            else:
                arguments.append(value)
        label = node.name or node.output[0]
        named = {
            key: self._buffer(f"{label}.{key}", value) if isinstance(value, Tensor) else value
            for key, value in attributes.items()
        }
        call = self._graph.call_function(function.function, tuple(arguments), named)
        if not function.many:
            return [call]
        return [self._graph.call_function(operator.getitem, (call, i)) for i in range(len(node.output))]

    def _attributes(self, node: onnx.NodeProto, function: Operator) -> dict[str, Any]:
        label = node.name or node.output[0]
        given = {attribute.name: _attribute(attribute) for attribute in node.attribute}
        if unknown := sorted(set(given) - set(function.parameters)):
            raise UnsupportedOperatorError(node.op_type, label, f"attribute {unknown[0]!r} is not supported")
        if not function.many and any(node.output[1:]):
            raise UnsupportedOperatorError(node.op_type, label, "only its first output is supported")
        if node.op_type == "Cast" and given["to"] not in DTYPES:
            raise UnsupportedOperatorError(node.op_type, label, f"element type {given['to']} is not supported")
        if "opset" in function.parameters:
            given["opset"] = self._opset
        if "outputs" in function.parameters:
            given["outputs"] = len(node.output)
        return given

    def _buffer(self, name: str, value: Tensor) -> fx.Node:
        if name not in self._buffers:
            attribute = f"w{len(self._buffers)}"
            self._root.register_buffer(attribute, value)
            self._buffers[name] = self._graph.get_attr(attribute)
        return self._buffers[name]

    def finish(self, outputs: Sequence[str]) -> fx.GraphModule:
        made = [self._values[name] for name in outputs]
        results = [
            self._buffer(name, value) if isinstance(value, Tensor) else value
            for name, value in zip(outputs, made, strict=True)
        ]
        self._graph.output(tuple(results))
        return fx.GraphModule(self._root, self._graph, "Stage").eval()


def _static_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes of tensors where a node asks for one: exporters leave such questions, though here all sizes are known."""
    if not any(node.op_type == "Shape" for node in model.graph.node):
        return {}
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
    return shapes


def _shape(node: onnx.NodeProto, sizes: tuple[int, ...]) -> Tensor:
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    return torch.tensor(sizes[bounds.get("start") : bounds.get("end")], dtype=torch.int64)


def _constant(node: onnx.NodeProto) -> Tensor:
    attribute = node.attribute[0]
    if attribute.name == "value":
        return _tensor(attribute.t)
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if attribute.name not in kinds:
        raise UnsupportedOperatorError("Constant", node.output[0], f"attribute {attribute.name!r} is not supported")
    return torch.from_numpy(np.array(onnx.helper.get_attribute_value(attribute), kinds[attribute.name]))


def _tensor(proto: onnx.TensorProto) -> Tensor:
    if proto.data_type not in DTYPES:
        raise UnsupportedOperatorError("Constant", proto.name, f"element type {proto.data_type} is not supported")
    array = numpy_helper.to_array(proto)
    if proto.data_type == onnx.TensorProto.BFLOAT16:
        return torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)
    return torch.from_numpy(array.copy())


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return _tensor(value)
    if isinstance(value, bytes):
        return value.decode()
    return list(value) if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS) else value
