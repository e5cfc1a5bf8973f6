"""How far a model can be divided into bands of rows, and why not further."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import shape_inference

from models.proto import NotAGraphError, parse
from models.rows.chain import RowChain, RowsError
from models.rows.specs import OUTPUT_AXIS, input_axis
from models.rows.walk import Walk
from models.stage import BadGraphError
from schemas.model import ModelCard, TensorSpec


@dataclass(frozen=True)
class Boundary:
    """A cut that bands may end at: blocks `[0, last)` are divided, `tensor` is what their bands together give."""

    last: int
    tensor: TensorSpec
    height: int


@dataclass(frozen=True)
class RowsPossible:
    """What `deepest` found. `boundaries` is empty where not even the first block can be divided."""

    boundaries: tuple[Boundary, ...]
    """In order of `last`. Cuts that more than one tensor crosses are not among them."""
    why_not_further: str
    """As in `block 21: GlobalAveragePool needs all rows`."""
    chains: Mapping[int, RowChain]

    @property
    def lasts(self) -> tuple[int, ...]:
        """Every `last` that bands may have."""
        return tuple(boundary.last for boundary in self.boundaries)

    def boundary(self, last: int) -> Boundary:
        """The boundary before block `last`.

        Raises:
            RowsError: bands cannot end there.
        """
        self.chain(last)
        return self.boundaries[self.lasts.index(last)]

    def chain(self, last: int) -> RowChain:
        """The chain of blocks `[0, last)`, for `needed`, `shares` and `cost`; always the same object.

        Raises:
            RowsError: bands cannot end there.
        """
        if last not in self.chains:
            where = f"before block {', '.join(map(str, self.lasts))}" if self.boundaries else "nowhere"
            raise RowsError(f"bands cannot end before block {last}; they can {where} ({self.why_not_further})")
        return self.chains[last]


def deepest(card: ModelCard, graph_blob: bytes) -> RowsPossible:
    """Where bands of rows may end, from the input on.

    Supported are models with one input, a picture [1, rows, columns, 3] or [1, channels, rows, ...], and cuts that one
    tensor [1, channels, rows, ...] crosses. Heads of early exits inside such blocks are left out: bands do not compute
    them. Pure, but takes some 10 ms for a deep network: keep what it gives.

    Raises:
        models.stage.BadGraphError: the graph does not fit the card.
    """
    if len(card.inputs) != 1:
        return RowsPossible((), f"{card.name} takes {len(card.inputs)} inputs, rows are divided of one only", {})
    model = _inferred(card, graph_blob)
    try:
        walk = Walk(model, card.inputs[0], input_axis(card))
    except ValueError as error:
        raise BadGraphError(card, f"a constant does not fit its shape ({error})") from error
    for i, block in enumerate(card.blocks):
        for place in range(block.first_node, block.last_node):
            walk.step(place, model.graph.node[place], i)
    boundaries = []
    for last in range(1, len(card.blocks)):
        spec = card.cuts[last].tensors[0] if len(card.cuts[last].tensors) == 1 else None
        if spec and walk.gives(spec):
            boundaries.append(Boundary(last, spec, spec.shape[OUTPUT_AXIS]))
    end = boundaries[-1].last if boundaries else 0
    chains = {boundary.last: walk.chain(boundary.last, boundary.tensor.name) for boundary in boundaries}
    return RowsPossible(tuple(boundaries), _why_not_further(card, walk, end), chains)


def _why_not_further(card: ModelCard, walk: Walk, end: int) -> str:
    for cut in card.cuts[end + 1 :]:
        for spec in cut.tensors:
            if spec.name in walk.undivided:
                return walk.undivided[spec.name]
    return f"no later cut of {card.name} is crossed by one tensor [1, channels, rows, ...] of more than one row"


def _inferred(card: ModelCard, graph_blob: bytes) -> onnx.ModelProto:
    try:
        whole = parse(graph_blob)
    except NotAGraphError as error:
        raise BadGraphError(card, str(error)) from error
    if len(whole.graph.node) != card.blocks[-1].last_node:
        raise BadGraphError(card, f"it has {len(whole.graph.node)} nodes, the card says {card.blocks[-1].last_node}")
    try:
        return shape_inference.infer_shapes(whole, data_prop=True)
    except (shape_inference.InferenceError, ValueError) as error:
        raise BadGraphError(card, f"its shapes contradict one another ({str(error)[:200]})") from error
