"""A graph as blocks: which tensors live across each position, which positions are worth cutting at, what a block costs.

A position p lies before node p of the graph's topological order. Everything produced before p and needed at p or
later is alive there and would have to be sent. A cut point is a position where that is at most four tensors of
static shape. Between two nodes that multiply, only the cheapest position is kept: cutting between a convolution and
its activation, or before the pooling that shrinks its output, never pays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import onnx
from onnx import TensorProto

from models.layer_cost import node_layer_cost, parameters
from models.macs import CONTROL_FLOW, Shape, node_macs
from models.normalise import PREFIX
from models.proto import numpy_name, reads
from schemas.model import Block, Cut, TensorSpec
from schemas.tensors import ITEM_BYTES, as_dtype

MAX_CUT_TENSORS: Final = 4


class GraphError(ValueError):
    """A graph that cannot be served: an input or output that frames cannot carry. Says which and what to do."""


@dataclass(frozen=True)
class Analysis:
    """Blocks and the cuts around them: `cuts[p]` lies before block p. `Block.blobs` is left for the importer."""

    blocks: tuple[Block, ...]
    cuts: tuple[Cut, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    notes: tuple[str, ...]


def analyse(model: onnx.ModelProto) -> Analysis:
    """Blocks and cut points of a graph in topological order whose shapes are inferred. Pure.

    Raises:
        GraphError: an input or output without a static shape, or of an element type that frames do not carry.
    """
    graph = model.graph
    tensors = _Tensors(graph)
    inputs = tuple(tensors.describe(value.name, "input") for value in graph.input)
    outputs = tuple(tensors.describe(value.name, "output") for value in graph.output)
    swept = _sweep(graph, tensors)
    positions = list(_cut_positions(swept))
    edges = [0, *positions, len(graph.node)]
    middle = (Cut(tensors=tuple(tensors.spec[name] for name in swept.alive[p])) for p in positions)
    return Analysis(
        blocks=tuple(_block(swept, first, last) for first, last in pairwise(edges)),
        cuts=(Cut(tensors=inputs), *middle, Cut(tensors=outputs)),
        inputs=inputs,
        outputs=outputs,
        notes=tuple(_notes(swept, positions)),
    )


class _Tensors:
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

    def nbytes(self, name: str) -> int:
        return self.spec[name].nbytes if name in self.spec else 0


@dataclass(frozen=True)
class _Swept:
    """A graph with what lives at each position, and what each node multiplies."""

    graph: onnx.GraphProto
    tensors: _Tensors
    alive: list[tuple[str, ...]]
    macs: list[int]
    heavy: list[bool]

    def legal(self, position: int) -> bool:
        names = self.alive[position]
        return 1 <= len(names) <= MAX_CUT_TENSORS and all(name in self.tensors.spec for name in names)

    def nbytes(self, position: int) -> int:
        return sum(map(self.tensors.nbytes, self.alive[position]))


def _sweep(graph: onnx.GraphProto, tensors: _Tensors) -> _Swept:
    macs = [node_macs(node, tensors.shapes) for node in graph.node]
    heavy = [bool(count) or node.op_type in CONTROL_FLOW for count, node in zip(macs, graph.node, strict=True)]
    return _Swept(graph, tensors, list(_alive(graph)), macs, heavy)


def _alive(graph: onnx.GraphProto) -> Iterator[tuple[str, ...]]:
    """Names alive at each position, 0 to the number of nodes, in order of birth. Constants are never born."""
    last_use = {name: i for i, node in enumerate(graph.node) for name in reads(node)}
    last_use |= {value.name: len(graph.node) for value in graph.output}
    alive = [value.name for value in graph.input if value.name in last_use]
    yield tuple(alive)
    for i, node in enumerate(graph.node):
        alive += [name for name in node.output if name]
        alive = [name for name in alive if last_use.get(name, -1) > i]
        yield tuple(alive)


def _cut_positions(swept: _Swept) -> Iterator[int]:
    """Interior positions worth cutting at, in order."""
    normalised = sum(node.name.startswith(PREFIX) for node in swept.graph.node)
    if 0 < normalised < len(swept.graph.node) and swept.legal(normalised):
        yield normalised
    run: list[int] = []
    # Before the first node that multiplies, the input itself is the cheapest place: `run` stays closed until then.
    opened = False
    for p in range(1, len(swept.graph.node)):
        if swept.heavy[p - 1]:
            run, opened = [], True
        if opened and swept.legal(p):
            run.append(p)
        if swept.heavy[p] and run:
            # Of equal ones the latest, so that an activation stays with its convolution.
            yield min(run, key=lambda q: (swept.nbytes(q), -q))


def _block(swept: _Swept, first: int, last: int) -> Block:
    nodes = swept.graph.node[first:last]
    constants = swept.tensors.constants
    peaks = [
        sum(map(swept.tensors.nbytes, {*swept.alive[i], *(name for name in node.output if name)}))
        for i, node in enumerate(nodes, first)
    ]
    return Block(
        label=_label(swept, first, last),
        first_node=first,
        last_node=last,
        macs=sum(swept.macs[first:last]),
        layer_cost=_layer_cost(swept, nodes),
        weight_bytes=sum(constants[name] for name in {n for node in nodes for n in reads(node)} & constants.keys()),
        peak_activation_bytes=max(peaks),
    )


def _layer_cost(swept: _Swept, nodes: Iterable[onnx.NodeProto]) -> int:
    shapes, floats = swept.tensors.weights, swept.tensors.parameters
    return sum(node_layer_cost(node, shapes, floats) for node in nodes if not node.name.startswith(PREFIX))


def _label(swept: _Swept, first: int, last: int) -> str:
    """The block's main operator and the weight it multiplies with, as in `Conv features.3.conv.1`."""
    if swept.graph.node[first].name.startswith(PREFIX) and not any(swept.macs[first:last]):
        return "normalise"
    main = swept.graph.node[max(range(first, last), key=lambda i: swept.macs[i])]
    weight = next((name for name in main.input[1:] if name in swept.tensors.constants), "")
    return f"{main.op_type} {weight.removesuffix('.weight') or main.name}".strip()[:120]


def _notes(swept: _Swept, positions: list[int]) -> Iterator[str]:
    control = sorted({node.op_type for node in swept.graph.node if node.op_type in CONTROL_FLOW})
    if control:
        yield f"control flow ({', '.join(control)}) is never cut inside: it runs within one block"
    if positions:
        return
    crossings = [names for names in swept.alive[1:-1] if names]
    if sum(swept.heavy) < 2:
        why = "no two of its operators multiply, so a cut would only add traffic"
    elif all(len(names) > MAX_CUT_TENSORS for names in crossings):
        why = f"more than {MAX_CUT_TENSORS} tensors cross every position"
    elif any(name not in swept.tensors.spec for names in crossings for name in names):
        why = "the tensors between its operators have no static shape or an element type that frames do not carry"
    else:
        why = f"no position between two operators that multiply is crossed by 1 to {MAX_CUT_TENSORS} tensors"
    yield f"no legal cut point, the model runs as one block: {why}"


def _constant_bytes(tensor: TensorProto) -> int:
    dtype = as_dtype(numpy_name(tensor.data_type))
    return math.prod(tensor.dims) * ITEM_BYTES[dtype] if dtype else int(tensor.ByteSize())
