"""Cutting a picture into bands, and joining what they gave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.rows.chain import Rows, RowsError
from models.rows.specs import OUTPUT_AXIS
from schemas.codec import Array


def cut_rows(tensor: Array, takes: Rows, axis: int) -> Array:
    """Rows `takes` of a tensor, contiguous in memory.

    Args:
        tensor: the model's input.
        takes: rows `[first, last)`.
        axis: see `models.rows.specs.input_axis`.

    Raises:
        RowsError: the tensor has no such rows.
    """
    first, last = takes
    if tensor.ndim <= axis or not 0 <= first < last <= tensor.shape[axis]:
        raise RowsError(f"a tensor of shape {list(tensor.shape)} has no rows {first}:{last} along axis {axis}")
    return np.ascontiguousarray(tensor[(slice(None),) * axis + (slice(first, last),)])


def join(parts: Sequence[Array], axis: int = OUTPUT_AXIS) -> Array:
    """The bands' outputs as one tensor, top to bottom.

    Raises:
        RowsError: there are none, or they differ in element type or in more than their rows.
    """
    if not parts:
        raise RowsError("there is no band to join")
    kinds = {(part.dtype, part.shape[:axis], part.shape[axis + 1 :], part.ndim > axis) for part in parts}
    if len(kinds) > 1 or parts[0].ndim <= axis:
        shapes = ", ".join(f"{part.dtype}{list(part.shape)}" for part in parts)
        raise RowsError(f"bands join along axis {axis} only where all else is equal; these are {shapes}")
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis)
