"""The window that a convolution or pooling slides over its input: its attributes with ONNX's defaults filled in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.macs import Shape
from models.rows.chain import Reach, RowsError


@dataclass(frozen=True)
class Window:
    """One number per spatial axis, the first of which is rows."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    """Padding before each axis."""
    end: tuple[int, ...]
    """Padding after it."""

    @property
    def reach(self) -> Reach:
        """Along the rows."""
        return Reach(_span(self.kernel[0], self.dilations[0]), self.strides[0], self.begin[0])


def window_of(attributes: dict[str, Any], picture: Shape, kernel: Sequence[int]) -> Window:
    """The window of a node.

    Args:
        attributes: of the node, by name.
        picture: shape of its input, [batch, channels, spatial...].
        kernel: its extent along each spatial axis.

    Raises:
        RowsError: attributes that do not fit each other.
    """
    sizes = picture[2:]
    rank = len(sizes)
    strides = tuple(attributes.get("strides") or (1,) * rank)
    dilations = tuple(attributes.get("dilations") or (1,) * rank)
    automatic = attributes.get("auto_pad", b"NOTSET")
    spans = [_span(k, d) for k, d in zip(kernel, dilations, strict=True)]
    if automatic == b"NOTSET":
        pads = tuple(attributes.get("pads") or (0,) * 2 * rank)
    elif attributes.get("ceil_mode"):
        raise RowsError("ceil_mode and auto_pad exclude each other")
    elif automatic == b"VALID":
        pads = (0,) * 2 * rank
    else:
        pads = _same(sizes, strides, spans, upper=automatic == b"SAME_UPPER")
    if len(pads) != 2 * rank or min(*strides, *dilations, *kernel, 1) < 1 or min(pads) < 0:
        raise RowsError("its attributes do not fit its input")
    return Window(tuple(kernel), strides, dilations, pads[:rank], pads[rank:])


def _same(sizes: Shape, strides: Sequence[int], spans: Sequence[int], *, upper: bool) -> tuple[int, ...]:
    """Padding that makes as many outputs as strides fit in; the odd one goes after (`upper`) or before."""
    totals = [
        max(0, (-(-size // stride) - 1) * stride + span - size)
        for size, stride, span in zip(sizes, strides, spans, strict=True)
    ]
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return (*small, *large) if upper else (*large, *small)


def _span(kernel: int, dilation: int) -> int:
    return (kernel - 1) * dilation + 1
