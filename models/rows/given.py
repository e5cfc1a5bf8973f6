"""A node that reads tensors with rows, and what a rule may ask of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import helper

from models.macs import Shape
from models.rows.chain import ONE_TO_ONE, Reach, RowsError
from models.rows.windows import Window, window_of


@dataclass(frozen=True)
class Given:
    """A node that reads tensors with rows, and what is known of it."""

    node: onnx.NodeProto
    opset: int
    shapes: Mapping[str, Shape]
    rows: Mapping[str, int]
    """Which axis is rows, of those of its inputs that have rows."""
    numbers: Mapping[str, Sequence[int]]
    """Constants of whole numbers: axes, paddings."""

    @property
    def attributes(self) -> dict[str, Any]:
        """The node's attributes by name."""
        return {attribute.name: helper.get_attribute_value(attribute) for attribute in self.node.attribute}

    @property
    def shape(self) -> Shape:
        """Of its first input."""
        return self.shapes[self.node.input[0]]

    def only_first(self) -> int:
        """The axis of rows of the first input, where no other has rows."""
        if set(self.rows) != {self.node.input[0]} or self.node.input[0] in self.node.input[1:]:
            raise RowsError("needs all rows of what it is multiplied or addressed with")
        return self.rows[self.node.input[0]]

    def listed(self, name: str, place: int) -> Sequence[int] | None:
        """Axes or the like: an input of newer opsets, an attribute of older ones; None where neither is given."""
        if len(self.node.input) > place and self.node.input[place]:
            if self.node.input[place] not in self.numbers:
                raise RowsError(f"gets its {name} only as it runs")
            return self.numbers[self.node.input[place]]
        found: Sequence[int] | None = self.attributes.get(name)
        return found


@dataclass(frozen=True)
class Divided:
    """How an operator can be computed on a band: its outputs' axis of rows, the rows it reads for each, its padding."""

    axis: int
    reach: Reach = ONE_TO_ONE
    pads: tuple[int, ...] = ()
    """See `models.rows.chain.RowStep`."""


def window(given: Given) -> Window:
    """The window of a convolution or pooling.

    Raises:
        RowsError: attributes that do not fit each other.
    """
    weight = given.shapes[given.node.input[1]] if given.node.op_type == "Conv" else ()
    kernel = weight[2:] or given.attributes["kernel_shape"]
    return window_of(given.attributes, given.shape, kernel)


def padding(given: Given) -> list[int]:
    """Of a Pad, all begins, then all ends, one for each axis of its input.

    Raises:
        RowsError: known only as it runs.
    """
    rank = len(given.shape)
    amounts = given.listed("pads", 1)
    axes = given.listed("axes", 3)
    places = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    if amounts is None or len(amounts) != 2 * len(places):
        raise RowsError("has a padding that does not fit its input")
    pads = [0] * 2 * rank
    for i, axis in enumerate(places):
        pads[axis], pads[rank + axis] = amounts[i], amounts[i + len(places)]
    return pads
