"""A graph as blocks: which tensors live across each position, which positions are worth cutting at, what a block costs.

A position p lies before node p of the graph's topological order. Everything produced before p and needed at p or
later is alive there and would have to be sent. Cut points are the positions where that is at most four tensors of
static shape. Between two nodes that multiply, only the cheapest position is kept: cutting between a convolution and
its activation, or before the pooling that shrinks its output, never pays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import onnx
from onnx import TensorProto

from models.macs import CONTROL_FLOW, Shape, node_macs
from models.normalise import PREFIX
from models.proto import numpy_name, reads
from schemas.model import Block, Cut, TensorSpec
from schemas.tensors import ITEM_BYTES, as_dtype

MAX_CUT_TENSORS: Final = 4


class GraphError(ValueError):
    """A graph that cannot be cut or described; says which tensor and why."""


@dataclass(frozen=True)
class Analysis:
    """Blocks and the cuts around them: `cuts[p]` lies before block p. `Block.blobs` is left for the importer."""

    blocks: tuple[Block, ...]
    cuts: tuple[Cut, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    notes: tuple[str, ...]


def analyse(model: onnx.ModelProto) -> Analysis:
    """Blocks and legal cuts of a graph whose nodes are in topological order and whose shapes are inferred.

    Raises:
        GraphError: an input or output without a static shape, or of an element type that frames do not carry.
    """
    graph = model.graph
    tensors = _Tensors(graph)
    inputs = tuple(tensors.describe(value.name, "input") for value in graph.input)
    outputs = tuple(tensors.describe(value.name, "output") for value in graph.output)
    alive = list(_sweep(graph, tensors))
    macs = [node_macs(node, tensors.shapes) for node in graph.node]
    heavy = [bool(count) or node.op_type in CONTROL_FLOW for count, node in zip(macs, graph.node, strict=True)]
    positions = _cut_positions(graph, alive, heavy, tensors)
    edges = [0, *positions, len(graph.node)]
    blocks = tuple(_block(graph, tensors, macs, alive, first, last) for first, last in pairwise(edges))
    middle = (Cut(tensors=tuple(tensors.spec[name] for name in alive[p])) for p in positions)
    cuts = (Cut(tensors=inputs), *middle, Cut(tensors=outputs))
    return Analysis(blocks, cuts, inputs, outputs, _notes(graph, positions, alive, heavy, tensors))


class _Tensors:
    """What is known of every tensor of a graph: shapes, wire specs, and which are constants."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.constants = {tensor.name: _tensor_bytes(tensor) for tensor in graph.initializer}
        self.constants |= {sparse.values.name: _tensor_bytes(sparse.values) for sparse in graph.sparse_initializer}
        self.shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        self.spec: dict[str, TensorSpec] = {}
        self._elem_type: dict[str, int] = {}
        for value in (*graph.value_info, *graph.output, *graph.input):
            if not value.type.HasField("tensor_type"):
                continue
            tensor = value.type.tensor_type
            self._elem_type[value.name] = tensor.elem_type
            dims = tensor.shape.dim if tensor.HasField("shape") else None
            if dims is None or any(not dim.HasField("dim_value") for dim in dims):
                continue
            self.shapes[value.name] = shape = tuple(dim.dim_value for dim in dims)
            dtype = as_dtype(numpy_name(tensor.elem_type))
            if dtype is not None and len(shape) <= 8 and 0 < len(value.name) <= 512:
                self.spec[value.name] = TensorSpec(name=value.name, dtype=dtype, shape=shape)

    def describe(self, name: str, role: str) -> TensorSpec:
        if name in self.spec:
            return self.spec[name]
        if name in self.shapes:
            kind = numpy_name(self._elem_type.get(name, 0)) or "unknown"
            raise GraphError(
                f"{role} {name!r} holds {kind} elements, which frames do not carry; convert it to one of "
                f"{', '.join(sorted(ITEM_BYTES))} inside the model"
            )
        raise GraphError(
            f"{role} {name!r} has no static shape; stages exchange tensors of known shape: "
            "give --input-shape, or export the model with fixed shapes"
        )

    def nbytes(self, name: str) -> int:
        return self.spec[name].nbytes if name in self.spec else 0


def _tensor_bytes(tensor: TensorProto) -> int:
    dtype = as_dtype(numpy_name(tensor.data_type))
    size = 1
    for dim in tensor.dims:
        size *= dim
    return size * ITEM_BYTES[dtype] if dtype else tensor.ByteSize()


def _sweep(graph: onnx.GraphProto, tensors: _Tensors) -> Iterator[tuple[str, ...]]:
    """Names alive at each position, 0 to the number of nodes, in order of birth."""
    end = len(graph.node)
    last_use = {name: i for i, node in enumerate(graph.node) for name in reads(node)}
    last_use |= {value.name: end for value in graph.output}
    alive = {value.name: None for value in graph.input if value.name in last_use}
    yield tuple(alive)
    for i, node in enumerate(graph.node):
        alive |= {name: None for name in node.output if name and last_use.get(name, -1) > i}
        alive = {name: None for name in alive if last_use[name] > i and name not in tensors.constants}
        yield tuple(alive)


def _cut_positions(
    graph: onnx.GraphProto, alive: list[tuple[str, ...]], heavy: list[bool], tensors: _Tensors
) -> list[int]:
    """Interior positions worth cutting at, in order."""
    chosen: list[int] = []
    normalised = sum(node.name.startswith(PREFIX) for node in graph.node)
    if 0 < normalised < len(graph.node) and _legal(alive[normalised], tensors):
        chosen.append(normalised)
    run: list[int] = []
    seen_heavy = False
    for p in range(1, len(graph.node)):
        seen_heavy = seen_heavy or heavy[p - 1]
        if heavy[p - 1]:
            run = []
        # Before the first node that multiplies, the input itself is the best place to cut.
        if seen_heavy and _legal(alive[p], tensors):
            run.append(p)
        if heavy[p] and run:
            chosen.append(min(run, key=lambda q: (sum(map(tensors.nbytes, alive[q])), -q)))
    return chosen


def _legal(names: tuple[str, ...], tensors: _Tensors) -> bool:
    return 1 <= len(names) <= MAX_CUT_TENSORS and all(name in tensors.spec for name in names)


def _block(
    graph: onnx.GraphProto, tensors: _Tensors, macs: list[int], alive: list[tuple[str, ...]], first: int, last: int
) -> Block:
    nodes = graph.node[first:last]
    constants = {name for node in nodes for name in reads(node) if name in tensors.constants}
    peaks = [
        sum(map(tensors.nbytes, {*alive[i], *(name for name in graph.node[i].output if name)}))
        for i in range(first, last)
    ]
    return Block(
        label=_label(graph, tensors, macs, first, last),
        first_node=first,
        last_node=last,
        macs=sum(macs[first:last]),
        weight_bytes=sum(tensors.constants[name] for name in constants),
        peak_activation_bytes=max(peaks, default=0),
    )


def _label(graph: onnx.GraphProto, tensors: _Tensors, macs: list[int], first: int, last: int) -> str:
    if first == last:
        return "nothing"
    if graph.node[first].name.startswith(PREFIX):
        return "normalise"
    main = graph.node[max(range(first, last), key=lambda i: macs[i])]
    weight = next((name for name in main.input[1:] if name in tensors.constants), "")
    return f"{main.op_type} {weight.removesuffix('.weight') or main.name}".strip()[:120]


def _notes(
    graph: onnx.GraphProto, positions: list[int], alive: list[tuple[str, ...]], heavy: list[bool], tensors: _Tensors
) -> tuple[str, ...]:
    notes: list[str] = []
    control = sorted({node.op_type for node in graph.node if node.op_type in CONTROL_FLOW})
    if control:
        notes.append(f"control flow ({', '.join(control)}) is never cut inside: it runs within one block")
    if not positions:
        crossings = [names for names in alive[1:-1] if names]
        if sum(heavy) < 2:
            why = "it has no two operators that multiply, so every cut would only add traffic"
        elif all(len(names) > MAX_CUT_TENSORS for names in crossings):
            why = f"more than {MAX_CUT_TENSORS} tensors cross every position"
        elif any(name not in tensors.spec for names in crossings for name in names):
            why = "the tensors between its operators have no static shape or an element type that frames do not carry"
        else:
            why = "no position between two operators that multiply has few enough tensors"
        notes.append(f"no legal cut point: the model runs as one block, because {why}")
    return tuple(notes)
