"""ONNX's operators that move, pick and reshape, as pure torch functions.

Each function takes an operator's inputs in ONNX's order and its attributes by name, with ONNX's defaults. Shapes, axes
and the like are lists when they were known as the graph was built, tensors when they are computed as it runs; where
older opsets have an attribute in the place of such an input, it has the same name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from torch import Tensor

from models.runtime.checks import BackendError

Ints = Sequence[int] | Tensor

_PAD_MODES: Final = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def ints(value: Ints) -> list[int]:
    """The plain numbers of a list or a tensor (which, on an accelerator, waits for it)."""
    return [int(number) for number in (value.tolist() if isinstance(value, Tensor) else value)]


def reshape(x: Tensor, shape: Ints, *, allowzero: int = 0) -> Tensor:
    """Reshape: 0 keeps the axis of the input, -1 takes what is left."""
    sizes = ints(shape)
    return x.reshape([x.shape[i] if size == 0 and not allowzero else size for i, size in enumerate(sizes)])


def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """Flatten to two axes, split before `axis`."""
    axis = axis % x.dim() if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def transpose(x: Tensor, *, perm: Sequence[int] | None = None) -> Tensor:
    """Transpose; without `perm` all axes are reversed."""
    return x.permute(list(perm) if perm else list(reversed(range(x.dim()))))


def squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    """Squeeze the given axes of size one, or all of them."""
    return x.squeeze() if axes is None else x.squeeze(ints(axes))


def unsqueeze(x: Tensor, axes: Ints) -> Tensor:
    """Unsqueeze: `axes` are those of the result."""
    places = ints(axes)
    rank = x.dim() + len(places)
    for axis in sorted(place % rank for place in places):
        x = x.unsqueeze(axis)
    return x


def expand(x: Tensor, shape: Ints) -> Tensor:
    """Expand by broadcasting in both directions."""
    return x.expand(torch.broadcast_shapes(x.shape, ints(shape)))  # type: ignore[no-untyped-call]


def tile(x: Tensor, repeats: Ints) -> Tensor:
    """Tile each axis so many times."""
    return x.repeat(ints(repeats))


def concat(*parts: Tensor, axis: int) -> Tensor:
    """Concat along `axis`."""
    return torch.cat(parts, axis)


def split(x: Tensor, split: Ints | None = None, *, axis: int = 0, outputs: int, num_outputs: int = 0) -> list[Tensor]:
    """Split into the given sizes, or evenly into as many parts as the node has outputs (the last may be smaller)."""
    parts = num_outputs or outputs
    sizes = -(-x.shape[axis] // parts) if split is None else ints(split)
    return list(torch.split(x, sizes, axis))


def slice_(x: Tensor, starts: Ints, ends: Ints, axes: Ints | None = None, steps: Ints | None = None) -> Tensor:
    """Slice; steps may be negative."""
    first, last = ints(starts), ints(ends)
    places = list(range(len(first))) if axes is None else ints(axes)
    strides = [1] * len(first) if steps is None else ints(steps)
    for start, end, axis, step in zip(first, last, places, strides, strict=True):
        picked = range(*slice(start, end, step).indices(x.shape[axis]))
        if step > 0:
            chosen = slice(picked.start, max(picked.start, picked.stop), step)
            x = x[(*_before(x, axis), chosen)]
        else:
            x = x.index_select(axis, torch.tensor(list(picked), device=x.device))
    return x


def gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """Gather whole slices along `axis`; negative indices count from the end."""
    index: tuple[slice | Tensor, ...] = (*_before(x, axis), indices.long())
    return x[index]


def gather_elements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """GatherElements, one by one."""
    return x.gather(axis, indices.long() % x.shape[axis])


def gather_nd(x: Tensor, indices: Tensor) -> Tensor:
    """GatherND without batch axes: the last axis of `indices` addresses the first axes of `x`."""
    return x[tuple(indices.long().unbind(-1))]


def scatter_nd(
    x: Tensor,
    indices: Tensor,
    updates: Tensor,
    *,
    reduction: Literal["none", "add", "mul", "min", "max"] = "none",
) -> Tensor:
    """ScatterND: a copy of `x` with `updates` put, or added, at `indices`.

    Raises:
        BackendError: another reduction.
    """
    if reduction not in ("none", "add"):
        raise BackendError(f"the torch backend cannot scatter by {reduction!r}; use the onnxruntime backend")
    return x.index_put(tuple(indices.long().unbind(-1)), updates, accumulate=reduction == "add")


def pad(
    x: Tensor,
    pads: Ints,
    value: Tensor | float | None = None,
    axes: Ints | None = None,
    *,
    mode: Literal["constant", "reflect", "edge", "wrap"] = "constant",
) -> Tensor:
    """Pad: all begins, then all ends, of `axes` or of every axis; negative ones crop."""
    given = ints(pads)
    places = list(range(x.dim())) if axes is None else [axis % x.dim() for axis in ints(axes)]
    begin, end = [0] * x.dim(), [0] * x.dim()
    for i, axis in enumerate(places):
        begin[axis], end[axis] = given[i], given[i + len(places)]
    # torch counts axes from the last, and in the other modes wants all but the outer two named, and not those.
    flat = [amount for pair in zip(reversed(begin), reversed(end), strict=True) for amount in pair]
    while len(flat) > 2 * max(1, x.dim() - 2) and not flat[-1] and not flat[-2]:
        del flat[-2:]
    return F.pad(x, flat, _PAD_MODES[mode], float(value or 0) if mode == "constant" else None)


def shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    """Shape as int64 [rank]; the number of axes `[start, end)`."""
    return torch.tensor(x.shape[start:end], dtype=torch.int64, device=x.device)


def constant_of_shape(shape: Ints, *, value: Tensor | None = None) -> Tensor:
    """ConstantOfShape: one value (float32 zero by default) everywhere."""
    one = torch.zeros(()) if value is None else value.reshape(())
    if isinstance(shape, Tensor):
        one = one.to(shape.device)
    return one.expand(ints(shape)).clone()


def range_(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """Range `[start, limit)` in steps of `delta`."""
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype, device=start.device)


def depth_to_space(x: Tensor, *, blocksize: int, mode: Literal["DCR", "CRD"] = "DCR") -> Tensor:
    """DepthToSpace: channels to pixels."""
    if mode == "CRD":
        return F.pixel_shuffle(x, blocksize)
    n, c, h, w = x.shape
    y = x.reshape(n, blocksize, blocksize, c // blocksize**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return y.reshape(n, c // blocksize**2, h * blocksize, w * blocksize)


def space_to_depth(x: Tensor, *, blocksize: int) -> Tensor:
    """SpaceToDepth: pixels to channels."""
    n, c, h, w = x.shape
    y = x.reshape(n, c, h // blocksize, blocksize, w // blocksize, blocksize).permute(0, 3, 5, 1, 2, 4)
    return y.reshape(n, c * blocksize**2, h // blocksize, w // blocksize)


def trilu(x: Tensor, k: Ints | int = 0, *, upper: int = 1) -> Tensor:
    """Trilu: the upper or lower triangle, `k` diagonals off."""
    return torch.triu(x, int(k)) if upper else torch.tril(x, int(k))  # type: ignore[arg-type]


def _before(x: Tensor, axis: int) -> tuple[slice[None, None, None], ...]:
    """Whole of every axis before `axis`."""
    return (slice(None),) * (axis % x.dim())
