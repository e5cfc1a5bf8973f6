"""Residual sums that a cut divides: feature maps that come in and are added to what a convolution makes.

On a CPU, ONNX Runtime keeps what lies between convolutions in blocks of channels, and computes a sum of two such
feature maps inside the convolution that makes one of them. What comes in from another device is in no such blocks: the
sum behind it is then computed by itself, which rounds differently (measured over all cuts: up to 1.6e-7 for ResNet18,
8.8e-7 for MobileNetV2). A depthwise convolution whose window is a single 1 puts what comes in into blocks, and the
stage computes what the undivided model does, to the last bit. It took no time that could be measured: the runtime
would rearrange the tensor anyhow. See also `models.rows.crops`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.stage import StageSlice


def summed_as_undivided(piece: StageSlice) -> StageSlice:
    """The stage, for ONNX Runtime, with residual sums over the cut before it computed as in the undivided model.

    Only for a stage whose inputs other stages make; what the model itself is given is in no blocks without a cut,
    either.
    """
    model = onnx.ModelProto()
    model.CopyFrom(piece.model)
    graph = model.graph
    entries = [entry for value in graph.input if (entry := _entry(value, _sums(graph, value.name))) is not None]
    if not entries:
        return piece
    nodes = [*(node for node, _ in entries), *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(window for _, window in entries)
    return replace(piece, model=model)


def _sums(graph: onnx.GraphProto, name: str) -> list[onnx.NodeProto]:
    """Nodes that add a tensor to one that the stage makes."""
    made = {output for node in graph.node for output in node.output}
    return [
        node
        for node in graph.node
        if node.op_type in ("Add", "Sum")
        and len(node.input) == 2
        and name in node.input
        and made.intersection(node.input)
    ]


def _entry(value: onnx.ValueInfoProto, sums: list[onnx.NodeProto]) -> tuple[onnx.NodeProto, TensorProto] | None:
    """The convolution that these sums read from now on, and its weight; None where there is nothing to do."""
    tensor = value.type.tensor_type
    if not sums or tensor.elem_type != TensorProto.FLOAT or len(tensor.shape.dim) != 4:
        return None
    channels = tensor.shape.dim[1].dim_value
    entered = f"{value.name}/entered"
    for node in sums:
        [other] = [name for name in node.input if name != value.name]
        # The runtime adds to the convolution that comes first: it shall be the one that it is without a cut.
        node.input[:] = [other, entered]
    window = numpy_helper.from_array(np.ones((channels, 1, 1, 1), np.float32), f"{entered}/window")
    return helper.make_node("Conv", [value.name, window.name], [entered], entered, group=channels), window
