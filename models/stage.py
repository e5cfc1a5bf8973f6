"""A stage as its own graph: the nodes of blocks `[first, last)` with just the inputs, outputs and weights they need.

Pure: reads a graph blob that nobody vouches for, opens no file and executes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from models.blobs import BlobStore
from models.proto import NotAGraphError, parse, reads, tensors
from models.weights import PlaceholderError, Weight, placeholder
from schemas.model import Exit, ModelCard, TensorSpec


class BadGraphError(ValueError):
    """A graph blob that is not the graph its card describes; import the model again."""

    def __init__(self, card: ModelCard, why: str) -> None:
        super().__init__(f"the graph of {card.name} does not fit its card: {why}; import the model again")


@dataclass(frozen=True)
class StageSlice:
    """One stage, ready for a runtime.

    `model` holds placeholders for the weights that are blobs (`weights`); all its nodes are the stage's own. It takes
    `feeds` and gives `fetches`; the stage takes `inputs` and gives `outputs`. A tensor that is alive on both sides
    without being made here is passed through, and one that no node here reads is not fed. With an exit at its end the
    head's output is fetched, too, though it is no output of the stage.
    """

    model: onnx.ModelProto
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    feeds: tuple[str, ...]
    fetches: tuple[str, ...]
    weights: tuple[Weight, ...]

    @property
    def passed(self) -> tuple[str, ...]:
        """Names of the outputs that are not made here."""
        return tuple(spec.name for spec in self.outputs if spec.name not in self.fetches)


def stage_model(card: ModelCard, store: BlobStore, first: int, last: int, *, at_end: Exit | None = None) -> StageSlice:
    """The slice for blocks `[first, last)`; the graph blob is checked against its hash.

    Heads of exits are left out, but that of `at_end`: an exit of the card whose block is the last of these.

    Raises:
        ValueError: no such blocks.
        models.blobs.MissingBlobError, models.blobs.WrongHashError: the graph blob is not here or damaged.
        BadGraphError: the graph does not fit the card.
    """
    return cut_stage(card, store.read(card.graph.sha256), first, last, at_end=at_end)


def cut_stage(card: ModelCard, graph_blob: bytes, first: int, last: int, *, at_end: Exit | None = None) -> StageSlice:
    """As `stage_model`, from the bytes of the graph blob."""
    if not 0 <= first < last <= len(card.blocks):
        raise ValueError(f"{card.name} has blocks 0 to {len(card.blocks)}; there is no stage [{first}:{last})")
    if at_end is not None and at_end.block != last - 1:
        raise ValueError(f"exit {at_end.name} comes after block {at_end.block}, not at the end of [{first}:{last})")
    try:
        whole = parse(graph_blob)
    except NotAGraphError as error:
        raise BadGraphError(card, str(error)) from error
    graph = whole.graph
    if len(graph.node) != card.blocks[-1].last_node:
        raise BadGraphError(card, f"it has {len(graph.node)} nodes, the card says {card.blocks[-1].last_node}")
    nodes = list(graph.node)[card.blocks[first].first_node : card.blocks[last - 1].last_node]
    inputs, outputs = card.cuts[first].tensors, card.cuts[last].tensors
    wanted = (*outputs, at_end.output) if at_end else outputs
    if any(first <= one.block < last for one in card.exits):
        nodes = _needed(nodes, wanted)
        if not nodes:
            raise BadGraphError(card, f"blocks [{first}:{last}) make nothing that the cut after them needs")
    needed = dict.fromkeys(name for node in nodes for name in reads(node))
    made = {name for node in nodes for name in node.output if name}
    given = {spec.name for spec in inputs}
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    sparse = [tensor for tensor in graph.sparse_initializer if tensor.values.name in needed]
    known = given | made | {t.name for t in constants} | {t.values.name for t in sparse}
    for name in needed:
        if name not in known:
            raise BadGraphError(
                card, f"blocks [{first}:{last}) read {name!r}, which does not cross the cut before them"
            )
    for spec in wanted:
        if spec.name not in made and spec.name not in given:
            raise BadGraphError(
                card, f"blocks [{first}:{last}) do not make {spec.name!r}, which the cut after them needs"
            )
    if at_end and (at_end.output.name not in made or at_end.output.name in {spec.name for spec in outputs}):
        raise BadGraphError(card, f"exit {at_end.name} gives {at_end.output.name!r}, which is no head's of its own")
    feeds = tuple(spec.name for spec in inputs if spec.name in needed)
    fetches = tuple(spec.name for spec in wanted if spec.name in made)
    piece = onnx.GraphProto(
        name=f"{card.name}[{first}:{last})",
        node=nodes,
        initializer=constants,
        sparse_initializer=sparse,
        input=[_value_info(spec) for spec in inputs if spec.name in needed],
        output=[_value_info(spec) for spec in wanted if spec.name in made],
    )
    model = onnx.ModelProto(ir_version=whole.ir_version, opset_import=whole.opset_import, graph=piece)
    return StageSlice(model, inputs, outputs, feeds, fetches, _weights(card, piece, first, last))


def _needed(nodes: Sequence[onnx.NodeProto], wanted: Sequence[TensorSpec]) -> list[onnx.NodeProto]:
    """Nodes without those that nobody wants: heads of exits that are closed."""
    needed = {spec.name for spec in wanted}
    kept: list[onnx.NodeProto] = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(reads(node))
            kept.append(node)
    return kept[::-1]


def _weights(card: ModelCard, piece: onnx.GraphProto, first: int, last: int) -> tuple[Weight, ...]:
    try:
        found = [weight for tensor in piece.initializer if (weight := placeholder(tensor))]
    except PlaceholderError as error:
        raise BadGraphError(card, str(error)) from error
    listed = {blob.sha256: blob.nbytes for blob in card.stage_blobs(first, last)}
    for weight in found:
        if listed.get(weight.sha256) != weight.spec.nbytes:
            raise BadGraphError(card, f"weight {weight.spec.name!r} is not among the blobs of blocks [{first}:{last})")
    external = sum(tensor.data_location == TensorProto.EXTERNAL for tensor in tensors(piece))
    if external != len(found):
        raise BadGraphError(card, "a tensor that is no weight points outside the graph")
    return tuple(found)


def _value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(spec.name, helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), spec.shape)
