"""A graph as blocks: which tensors live across each position, which positions are worth cutting at, what a block costs.

A cut point is a position crossed by at most four tensors of static shape. Between two nodes that multiply, only the
cheapest position is kept: cutting between a convolution and its activation, or before the pooling that shrinks its
output, never pays. Heads of exits change none of this: a model has the cuts that it would have without them, and one
right behind each head.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import onnx

from models.exits.placing import PlacedHead
from models.layer_cost import node_layer_cost
from models.liveness import MAX_CUT_TENSORS, GraphError, Tensors, alive_at
from models.macs import CONTROL_FLOW, node_macs
from models.normalise import PREFIX
from models.proto import reads
from schemas.model import Block, Cut, Exit, TensorSpec

__all__ = ["MAX_CUT_TENSORS", "Analysis", "GraphError", "analyse"]


@dataclass(frozen=True)
class Analysis:
    """Blocks and the cuts around them: `cuts[p]` lies before block p. `Block.blobs` is left for the importer."""

    blocks: tuple[Block, ...]
    cuts: tuple[Cut, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    notes: tuple[str, ...]
    exits: tuple[Exit, ...] = ()


def analyse(model: onnx.ModelProto, heads: Sequence[PlacedHead] = ()) -> Analysis:
    """Blocks and cut points of a graph in topological order whose shapes are inferred. Pure.

    Args:
        model: the graph; no head's output is among its outputs.
        heads: where `models.exits.placing.place_heads` put them.

    Raises:
        GraphError: an input or output without a static shape, or of an element type that frames do not carry.
    """
    graph = model.graph
    tensors = Tensors(graph)
    inputs = tuple(tensors.describe(value.name, "input") for value in graph.input)
    outputs = tuple(tensors.describe(value.name, "output") for value in graph.output)
    swept = _sweep(graph, tensors, heads)
    positions = sorted({*_cut_positions(swept), *(head.last_node for head in heads)})
    edges = [0, *positions, len(graph.node)]
    middle = (Cut(tensors=tuple(tensors.spec[name] for name in swept.alive[p])) for p in positions)
    return Analysis(
        blocks=tuple(_block(swept, first, last) for first, last in pairwise(edges)),
        cuts=(Cut(tensors=inputs), *middle, Cut(tensors=outputs)),
        inputs=inputs,
        outputs=outputs,
        notes=tuple(_notes(swept, positions)),
        exits=tuple(_exit(swept, head, positions.index(head.last_node)) for head in heads),
    )


@dataclass(frozen=True)
class _Swept:
    """A graph with what lives at each position, and what each node multiplies."""

    graph: onnx.GraphProto
    tensors: Tensors
    alive: list[tuple[str, ...]]
    macs: list[int]
    heavy: list[bool]
    in_heads: frozenset[int]

    def legal(self, position: int) -> bool:
        # Before and inside a head is no place to cut: behind it the same tensors cross, or fewer.
        return position not in self.in_heads and self.tensors.crosses(self.alive[position])

    def nbytes(self, position: int) -> int:
        return sum(map(self.tensors.nbytes, self.alive[position]))


def _sweep(graph: onnx.GraphProto, tensors: Tensors, heads: Sequence[PlacedHead]) -> _Swept:
    in_heads = frozenset(i for head in heads for i in range(head.first_node, head.last_node))
    macs = [node_macs(node, tensors.shapes) for node in graph.node]
    heavy = [i not in in_heads and (bool(macs[i]) or node.op_type in CONTROL_FLOW) for i, node in enumerate(graph.node)]
    return _Swept(graph, tensors, list(alive_at(graph)), macs, heavy, in_heads)


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


def _exit(swept: _Swept, head: PlacedHead, block: int) -> Exit:
    return Exit(
        name=head.name,
        block=block,
        output=swept.tensors.describe(head.output, f"exit {head.name}:"),
        threshold=head.threshold,
        macs=sum(swept.macs[head.first_node : head.last_node]),
    )


def _layer_cost(swept: _Swept, nodes: Iterable[onnx.NodeProto]) -> int:
    shapes, floats = swept.tensors.weights, swept.tensors.parameters
    return sum(node_layer_cost(node, shapes, floats) for node in nodes if not node.name.startswith(PREFIX))


def _label(swept: _Swept, first: int, last: int) -> str:
    """The block's main operator and the weight it multiplies with, as in `Conv features.3.conv.1`."""
    if swept.graph.node[first].name.startswith(PREFIX) and not any(swept.macs[first:last]):
        return "normalise"
    backbone = (i for i in range(first, last) if i not in swept.in_heads)
    main = swept.graph.node[max(backbone, key=lambda i: swept.macs[i])]
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
