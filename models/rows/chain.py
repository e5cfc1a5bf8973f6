"""What the bands compute, as rows only: a chain of steps, each of which needs some rows to make some rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.tensors import ITEM_BYTES

Rows = tuple[int, int]
"""Rows `[first, last)` of a picture or feature map."""


class RowsError(ValueError):
    """Rows that cannot be computed side by side, or that do not fit together; says why and what would."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which input rows one output row `o` is made of: `[o * stride - before, o * stride - before + span)`.

    A convolution or pooling with kernel k, dilation d and p rows of padding above has span `(k - 1) * d + 1` and
    before = p. An element-wise operator has `ONE_TO_ONE`. Rows outside the input are padding.
    """

    span: int = 1
    stride: int = 1
    before: int = 0

    def window(self, gives: Rows) -> Rows:
        """Input rows for output rows `gives`, padding included: the first may be negative, the last beyond the end."""
        first, last = gives
        return first * self.stride - self.before, (last - 1) * self.stride - self.before + self.span


ONE_TO_ONE: Final = Reach()
"""Each row of the output from the same one of the input."""


@dataclass(frozen=True, slots=True)
class RowTensor:
    """A tensor whose axis `axis` is the picture's rows."""

    name: str
    shape: tuple[int, ...]
    axis: int
    dtype: str
    """As numpy calls it."""

    @property
    def height(self) -> int:
        """All its rows."""
        return self.shape[self.axis]

    @property
    def row_bytes(self) -> int:
        """One row, uncompressed."""
        return math.prod(self.shape) // self.height * ITEM_BYTES.get(self.dtype, 4)


@dataclass(frozen=True, slots=True)
class RowStep:
    """One node of the graph."""

    node: int
    """Its place among the graph's nodes."""
    block: int
    operator: str
    reads: tuple[tuple[str, Reach], ...]
    """Tensors with rows that it needs; none where it works on constants only, which every band then does in full."""
    makes: tuple[str, ...]
    macs: int
    """For all rows."""
    pads: tuple[int, ...] = ()
    """Of a Conv or pooling all begins, then all ends of its spatial axes; of a Pad those of all axes."""


@dataclass(frozen=True, eq=False)
class RowChain:
    """Blocks `[0, last)` without what their one output does not need, in the graph's order. Equal only to itself."""

    last: int
    input: str
    output: str
    tensors: Mapping[str, RowTensor]
    steps: tuple[RowStep, ...]

    @property
    def height(self) -> int:
        """All rows of the output: what the bands together give."""
        return self.tensors[self.output].height
