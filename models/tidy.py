"""Brings a graph into the form the rest relies on: functions inlined, constants folded and named, no dead nodes."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.inliner import inline_local_functions

from models.proto import graphs, reads, tensors

_log = logging.getLogger(__name__)

_STANDARD: Final = frozenset({"", "ai.onnx"})
_IN_ONE_PIECE: Final = 1 << 30


class UnrunnableError(ValueError):
    """A graph that ONNX Runtime does not accept."""


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function in canonical form, constants as initializers, without what only its exporter needed."""
    if model.functions:
        model = inline_local_functions(model)
    _constants_to_initializers(model.graph)
    _drop_default_inputs(model.graph)
    _drop_dead(model.graph)
    _give_outputs_nodes(model.graph)
    _forget_origins(model)
    return model


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function after ONNX Runtime's basic rewriting: constants folded, batch norms in their convolutions.

    Basic rewriting keeps to standard operators; should it not, or change inputs or outputs, the graph stays as it was.

    Raises:
        UnrunnableError: ONNX Runtime does not accept the graph.
    """
    with tempfile.TemporaryDirectory(prefix="stageline-") as folder:
        before, after = Path(folder, "before.onnx"), Path(folder, "after.onnx")
        # Counted by hand: protobuf cannot even size a message beyond 2 GB.
        large = sum(len(tensor.raw_data) for tensor in tensors(model.graph)) > _IN_ONE_PIECE
        onnx.save(model, before, save_as_external_data=large, location="before.bin" if large else None)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(after)
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "after.bin")
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "65536")
        try:
            onnxruntime.InferenceSession(str(before), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            # ONNX Runtime raises a class of its own per status code, with nothing but Exception in common.
            raise UnrunnableError(f"ONNX Runtime does not accept this graph: {str(error)[:500]}") from error
        folded = onnx.load(after)
        operators = {node.domain for node in folded.graph.node} - {node.domain for node in model.graph.node}
        if operators - _STANDARD or _signature(folded) != _signature(model):
            _log.info("constant folding changed more than it may; the graph is imported as it is")
            # Not `model`: saving it may have moved its weights out of it.
            return onnx.load(before)
    return folded


def _signature(model: onnx.ModelProto) -> list[tuple[str, int]]:
    values = [*model.graph.input, *model.graph.output]
    return [(value.name, value.type.tensor_type.elem_type) for value in values]


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    kept = []
    for node in graph.node:
        tensor = _constant(node)
        if tensor is None:
            kept.append(node)
        else:
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
    del graph.node[:]
    graph.node.extend(kept)


def _constant(node: onnx.NodeProto) -> TensorProto | None:
    if node.op_type != "Constant" or node.domain not in _STANDARD:
        return None
    attribute = node.attribute[0]
    if attribute.name == "value":
        tensor = TensorProto()
        tensor.CopyFrom(attribute.t)
        return tensor
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if attribute.name not in kinds:
        return None
    return numpy_helper.from_array(np.asarray(helper.get_attribute_value(attribute), kinds[attribute.name]))


def _drop_default_inputs(graph: onnx.GraphProto) -> None:
    """Before IR version 4 every initializer was listed as an input that a caller might override."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)


def _drop_dead(graph: onnx.GraphProto) -> None:
    needed = {value.name for value in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if any(name in needed for name in node.output):
            needed.update(reads(node))
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    initializers = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(initializers)


def _give_outputs_nodes(graph: onnx.GraphProto) -> None:
    """An output that is a constant would never be alive at a cut: let a node make it."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for value in graph.output:
        if value.name in constants:
            constants[value.name].name = inner = f"{value.name}/constant"
            for node in graph.node:
                node.input[:] = [inner if name == value.name else name for name in node.input]
            graph.node.append(helper.make_node("Identity", [inner], [value.name], f"{value.name}/identity"))


def _forget_origins(model: onnx.ModelProto) -> None:
    """Stack traces and other notes of the exporter are most of a small graph's bytes."""
    model.doc_string = ""
    domains = {node.domain or "" for graph in graphs(model.graph) for node in graph.node}
    opsets = [opset for opset in model.opset_import if opset.domain in domains | _STANDARD]
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    del model.metadata_props[:]
    for graph in graphs(model.graph):
        graph.doc_string = ""
        del graph.metadata_props[:]
        for item in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
            item.doc_string = ""
            del item.metadata_props[:]
