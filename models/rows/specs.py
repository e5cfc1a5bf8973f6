"""Which rows go in and come out of a band, from the card alone: what a submitter and the stage behind must know."""

from __future__ import annotations

from typing import Final

from models.rows.chain import Rows, RowsError
from schemas.model import ModelCard, TensorSpec

OUTPUT_AXIS: Final = 2
"""Bands give feature maps [1, channels, rows, ...]."""


def input_axis(card: ModelCard) -> int:
    """Which axis of the model's input is rows: 1 of a picture [1, rows, columns, 3], 2 of [1, channels, rows, ...]."""
    return 1 if card.preprocess else 2


def band_input(card: ModelCard, takes: Rows) -> TensorSpec:
    """What a band takes: rows `takes` of the model's one input.

    Raises:
        RowsError: the model has several inputs, or its input not these rows.
    """
    if len(card.inputs) != 1:
        raise RowsError(f"{card.name} takes {len(card.inputs)} inputs; rows are divided of one only")
    return with_rows(card.inputs[0], input_axis(card), takes)


def band_output(card: ModelCard, last: int, gives: Rows) -> TensorSpec:
    """What a band of blocks `[0, last)` gives: rows `gives` of the one tensor that crosses the cut after them.

    Raises:
        RowsError: there is no such cut, another number of tensors crosses it, or the tensor has not these rows.
    """
    if not 0 < last < len(card.blocks):
        raise RowsError(f"{card.name} has blocks 0 to {len(card.blocks)}; bands cannot end before block {last}")
    tensors = card.cuts[last].tensors
    if len(tensors) != 1:
        raise RowsError(f"{len(tensors)} tensors cross the cut before block {last} of {card.name}; bands give one")
    return with_rows(tensors[0], OUTPUT_AXIS, gives)


def with_rows(spec: TensorSpec, axis: int, rows: Rows) -> TensorSpec:
    """The spec of some rows of a tensor.

    Raises:
        RowsError: the tensor has not these rows.
    """
    first, last = rows
    if len(spec.shape) <= axis or not 0 <= first < last <= spec.shape[axis]:
        raise RowsError(f"{spec} has no rows {first}:{last} along axis {axis}")
    return spec.model_copy(update={"shape": (*spec.shape[:axis], last - first, *spec.shape[axis + 1 :])})
