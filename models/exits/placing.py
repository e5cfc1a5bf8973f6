"""Heads of exits in a graph: which nodes are theirs, and where they may stand.

A head is what only its exit needs. It stands right behind the earliest position of the backbone that is crossed by
all it reads, and where the backbone may be cut: what goes on from there is what the backbone alone would send.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx
from onnx import helper, shape_inference

from models.exits.declared import DeclaredExit, ExitError
from models.liveness import Tensors, alive_at
from models.proto import reads
from schemas.model import TensorSpec

_MOST_LISTED = 4


@dataclass(frozen=True, slots=True)
class PlacedHead:
    """The head of one exit: nodes `[first_node, last_node)` of the graph."""

    name: str
    threshold: float
    output: str
    first_node: int
    last_node: int


def place_heads(model: onnx.ModelProto, exits: Sequence[DeclaredExit]) -> tuple[PlacedHead, ...]:
    """Move every head right behind what it reads and take its output from the graph's outputs; in place.

    Args:
        model: nodes in topological order and none without use; static input shapes.
        exits: in the order in which a request meets them.

    Raises:
        ExitError: an exit's output is none of the graph's or differs from the model's own, its head needs another's
            nodes or reads tensors that never cross one cut together, or exits are not in order.
    """
    if not exits:
        return ()
    graph = model.graph
    tensors = Tensors(shape_inference.infer_shapes(model, data_prop=True).graph)
    answer = _answer(graph, exits, tensors)
    for one in exits:
        _check_like(one, tensors.describe(one.output, f"exit {one.name}:"), answer)
    backbone_nodes = _behind(graph, [answer.name])
    heads = [_head(graph, one, backbone_nodes) for one in exits]
    _check_apart(exits, heads)
    backbone = onnx.GraphProto(
        node=[graph.node[i] for i in sorted(backbone_nodes)],
        input=graph.input,
        output=[value for value in graph.output if value.name == answer.name],
    )
    places = _places(backbone, exits, heads, tensors)
    return _rebuild(graph, backbone, exits, heads, places)


@dataclass(frozen=True)
class _Head:
    """Nodes of one head in order, their indices in the graph as it was, and the output they give."""

    nodes: tuple[onnx.NodeProto, ...]
    places: frozenset[int]
    output: str

    def reads(self, tensors: Tensors) -> list[str]:
        made = {name for node in self.nodes for name in node.output}
        needed = dict.fromkeys(name for node in self.nodes for name in reads(node))
        return [name for name in needed if name not in made and name not in tensors.constants]


def _answer(graph: onnx.GraphProto, exits: Sequence[DeclaredExit], tensors: Tensors) -> TensorSpec:
    names = [value.name for value in graph.output]
    for one in exits:
        if one.output not in names:
            raise ExitError(
                f"exit {one.name} should give {one.output[:80]!r}, which is no output of the graph: "
                f"it has {_list(names)}"
            )
    left = [name for name in names if name not in {one.output for one in exits}]
    if len(left) != 1:
        raise ExitError(
            f"a model with exits has one output beside theirs, which any of them may give; this one has {_list(left)}"
        )
    return tensors.describe(left[0], "output")


def _check_like(one: DeclaredExit, given: TensorSpec, answer: TensorSpec) -> None:
    if (given.dtype, given.shape) != (answer.dtype, answer.shape):
        raise ExitError(
            f"exit {one.name} gives {given}, the model {answer}: a head's output must have the type and shape of the "
            "model's own"
        )
    if not given.dtype.startswith("float") or sum(size != 1 for size in given.shape) > 1:
        raise ExitError(f"exit {one.name} gives {given}: how sure a head is can be told of one row of logits only")


def _behind(graph: onnx.GraphProto, outputs: Collection[str]) -> frozenset[int]:
    """Indices of all nodes that these outputs need."""
    needed = set(outputs)
    found = []
    for i in range(len(graph.node) - 1, -1, -1):
        if needed.intersection(graph.node[i].output):
            needed.update(reads(graph.node[i]))
            found.append(i)
    return frozenset(found)


def _head(graph: onnx.GraphProto, one: DeclaredExit, backbone: frozenset[int]) -> _Head:
    own = _behind(graph, [one.output]) - backbone
    if own:
        return _Head(tuple(graph.node[i] for i in sorted(own)), own, one.output)
    # The backbone itself goes on from this output: a copy of it is what leaves.
    taken = {name for node in graph.node for name in (*reads(node), *node.output)}
    output = f"exit/{one.name}"
    while output in taken:
        output += "/copy"
    return _Head((helper.make_node("Identity", [one.output], [output], output),), frozenset(), output)


def _check_apart(exits: Sequence[DeclaredExit], heads: Sequence[_Head]) -> None:
    owner: dict[int, str] = {}
    for one, head in zip(exits, heads, strict=True):
        for i in head.places:
            if owner.setdefault(i, one.name) != one.name:
                raise ExitError(
                    f"exits {owner[i]} and {one.name} share nodes that the rest of the model does not need: "
                    "each needs a head of its own, which can be left out when it is closed, at a cut of its own"
                )


def _places(
    backbone: onnx.GraphProto, exits: Sequence[DeclaredExit], heads: Sequence[_Head], tensors: Tensors
) -> list[int]:
    """Position in the backbone behind which each head stands."""
    alive = [frozenset(names) for names in alive_at(backbone)]
    legal = [tensors.crosses(tuple(names)) for names in alive]
    found: list[int] = []
    for one, head in zip(exits, heads, strict=True):
        needed = head.reads(tensors)
        # Strictly inside: at the start nothing has been computed yet, at the end the answer is there.
        crossed = [p for p in range(1, len(alive) - 1) if alive[p].issuperset(needed)]
        if not needed or not crossed:
            raise ExitError(
                f"exit {one.name} is at no legal cut: it reads {_list(needed)}, which no position inside the model is "
                "crossed by together; let it read what one layer gives to the next"
            )
        allowed = [p for p in crossed if legal[p]]
        if not allowed:
            raise ExitError(
                f"exit {one.name} is at no legal cut: where it reads {_list(needed)}, too many tensors cross, or some "
                "that frames do not carry; see 'stageline import' of the model without exits for its cuts"
            )
        behind = [p for p in allowed if not found or p > found[-1]]
        if not behind:
            before = exits[len(found) - 1].name
            raise ExitError(
                f"exit {one.name} is at no legal cut behind exit {before}: declare exits in the order in which a "
                "request meets them, at most one at each cut"
            )
        found.append(behind[0])
    return found


def _rebuild(
    graph: onnx.GraphProto,
    backbone: onnx.GraphProto,
    exits: Sequence[DeclaredExit],
    heads: Sequence[_Head],
    places: Sequence[int],
) -> tuple[PlacedHead, ...]:
    nodes: list[onnx.NodeProto] = []
    placed: list[PlacedHead] = []
    start = 0
    for one, head, place in zip(exits, heads, places, strict=True):
        nodes += [*backbone.node[start:place], *head.nodes]
        placed.append(PlacedHead(one.name, one.threshold, head.output, len(nodes) - len(head.nodes), len(nodes)))
        start = place
    nodes += backbone.node[start:]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.output[:]
    graph.output.extend(backbone.output)
    return tuple(placed)


def _list(names: Sequence[str]) -> str:
    told = ", ".join(name[:60] for name in names[:_MOST_LISTED]) or "nothing"
    return told if len(names) <= _MOST_LISTED else f"{told} and {len(names) - _MOST_LISTED} more"
