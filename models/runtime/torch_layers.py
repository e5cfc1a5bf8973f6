"""ONNX's layers as pure torch functions: convolution, pooling, normalisation, products.

Each function takes an operator's inputs in ONNX's order and its attributes by name, with ONNX's defaults. Pictures are
[N, C, spatial...]; one to three spatial axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from torch import Tensor

from models.runtime.checks import BackendError

AutoPad = Literal["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]

_MAX_POOL = (torch.max_pool1d, torch.max_pool2d, torch.max_pool3d)
_AVERAGE_POOL = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: AutoPad = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,  # noqa: ARG001 - the weight says it
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Conv. `pads` are all begins, then all ends; ends may differ from begins."""
    rank = x.dim() - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    window = _Window(x.shape[2:], weight.shape[2:], strides, dilations).padded(pads, auto_pad)
    begin = window.begin
    if begin != window.end:
        x, begin = _pad(x, begin, window.end, 0.0), [0] * rank
    return torch.convolution(x, weight, bias, strides, begin, dilations, False, [0] * rank, group)


def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: AutoPad = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,  # noqa: ARG001 - the weight says it
    output_padding: list[int] | None = None,
    output_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """ConvTranspose: the full result, of which `pads` are cut away at the borders."""
    rank = x.dim() - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    extra = list(output_padding or [0] * rank)
    full = [
        (size - 1) * stride + (kernel - 1) * dilation + 1 + more
        for size, stride, kernel, dilation, more in zip(
            x.shape[2:], strides, weight.shape[2:], dilations, extra, strict=True
        )
    ]
    if output_shape is None and auto_pad.startswith("SAME"):
        output_shape = [size * stride for size, stride in zip(x.shape[2:], strides, strict=True)]
    if output_shape is None:
        given = list(pads or [0] * 2 * rank)
        begin, end = given[:rank], given[rank:]
    else:
        surplus = [max(0, have - want) for have, want in zip(full, list(output_shape)[-rank:], strict=True)]
        begin = [total // 2 if auto_pad == "SAME_UPPER" else total - total // 2 for total in surplus]
        end = [total - first for total, first in zip(surplus, begin, strict=True)]
    # Output padding is first of all less to cut away; only what exceeds that is more to compute.
    grow = [max(0, more - last) for more, last in zip(extra, end, strict=True)]
    y = torch.convolution(x, weight, bias, strides, [0] * rank, dilations, True, grow, group)
    for axis in range(rank):
        y = y.narrow(axis + 2, begin[axis], full[axis] - begin[axis] - end[axis])
    return y


def max_pool(
    x: Tensor,
    *,
    kernel_shape: list[int],
    auto_pad: AutoPad = "NOTSET",
    ceil_mode: int = 0,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    storage_order: int = 0,  # noqa: ARG001 - orders the indices, which are not given
    strides: list[int] | None = None,
) -> Tensor:
    """MaxPool, values only."""
    rank = x.dim() - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    window = _Window(x.shape[2:], kernel_shape, strides, dilations).padded(pads, auto_pad)
    pool = _MAX_POOL[rank - 1]
    if window.native:
        return pool(x, kernel_shape, strides, window.begin, dilations, bool(ceil_mode))
    reach = window.ceiled() if ceil_mode else window.end
    return pool(_pad(x, window.begin, reach, -torch.inf), kernel_shape, strides, [0] * rank, dilations, False)


def average_pool(
    x: Tensor,
    *,
    kernel_shape: list[int],
    auto_pad: AutoPad = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """AveragePool. What lies beyond the declared padding (`ceil_mode`) never counts.

    Raises:
        BackendError: dilated windows.
    """
    if any(dilation != 1 for dilation in dilations or ()):
        raise BackendError("the torch backend cannot average over dilated windows; use the onnxruntime backend")
    rank = x.dim() - 2
    strides = strides or [1] * rank
    window = _Window(x.shape[2:], kernel_shape, strides, [1] * rank).padded(pads, auto_pad)
    pool = _AVERAGE_POOL[rank - 1]
    if window.native:
        return pool(x, kernel_shape, strides, window.begin, bool(ceil_mode), bool(count_include_pad))
    begin, end = window.begin, window.end
    reach = window.ceiled() if ceil_mode else end
    counted = x.new_ones(1, 1, *x.shape[2:])
    if count_include_pad:
        counted = _pad(counted, begin, end, 1.0)
        counted = _pad(counted, [0] * rank, [r - e for r, e in zip(reach, end, strict=True)], 0.0)
    else:
        counted = _pad(counted, begin, reach, 0.0)
    return pool(_pad(x, begin, reach, 0.0), kernel_shape, strides) / pool(counted, kernel_shape, strides)


def global_average_pool(x: Tensor) -> Tensor:
    """GlobalAveragePool: mean over all spatial axes, kept as ones."""
    return x.mean(dim=tuple(range(2, x.dim())), keepdim=True)


def global_max_pool(x: Tensor) -> Tensor:
    """GlobalMaxPool: maximum over all spatial axes, kept as ones."""
    return x.amax(dim=tuple(range(2, x.dim())), keepdim=True)


def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - ONNX's name
    transB: int = 0,  # noqa: N803 - ONNX's name
) -> Tensor:
    """Gemm: alpha A B + beta C, C broadcast."""
    a, b = a.t() if transA else a, b.t() if transB else b
    if c is None:
        return a @ b if alpha == 1 else alpha * (a @ b)
    return torch.addmm(c, a, b, beta=beta, alpha=alpha)


def batch_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,  # noqa: ARG001 - for training
) -> Tensor:
    """BatchNormalization with the statistics of training."""
    return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, epsilon)


def layer_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,  # noqa: ARG001 - float32 is what we compute in
) -> Tensor:
    """LayerNormalization over `axis` and all after it."""
    over = list(x.shape[axis:])
    return F.layer_norm(x, over, scale.expand(over), None if bias is None else bias.expand(over), epsilon)


def instance_normalization(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """InstanceNormalization: each channel of each picture by its own statistics."""
    return F.instance_norm(x, weight=scale, bias=bias, eps=epsilon)


def group_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,  # noqa: ARG001 - float32 is what we compute in
) -> Tensor:
    """GroupNormalization; scale and bias per group (opset 18) or per channel (21 and later)."""
    if scale.numel() != x.shape[1]:
        each = x.shape[1] // num_groups
        scale, bias = scale.repeat_interleave(each), bias.repeat_interleave(each)
    return F.group_norm(x, num_groups, scale, bias, epsilon)


def lrn(x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Tensor:
    """LRN across channels, as in AlexNet (Krizhevsky et al., NeurIPS 2012)."""
    squares = (x * x).flatten(2).unsqueeze(1)
    # torch's own local_response_norm puts the odd channel of an even window on the other side.
    around = F.pad(squares, (0, 0, (size - 1) // 2, size // 2))
    mean = F.avg_pool2d(around, (size, 1), 1).reshape(x.shape)
    return x / (bias + alpha * mean) ** beta


@dataclass(frozen=True)
class _Window:
    """A kernel sliding over spatial axes: everything per axis, `begin` and `end` being the padding."""

    sizes: Sequence[int]
    kernel: Sequence[int]
    strides: Sequence[int]
    dilations: Sequence[int]
    begin: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)

    @property
    def spans(self) -> list[int]:
        """Inputs from a window's first to its last."""
        return [(k - 1) * dilation + 1 for k, dilation in zip(self.kernel, self.dilations, strict=True)]

    def padded(self, pads: list[int] | None, auto_pad: AutoPad) -> _Window:
        """With the padding that the attributes ask for."""
        rank = len(self.sizes)
        if auto_pad in ("NOTSET", "VALID"):
            given = list(pads) if pads and auto_pad == "NOTSET" else [0] * 2 * rank
            return replace(self, begin=given[:rank], end=given[rank:])
        totals = [
            max(0, (-(-size // stride) - 1) * stride + span - size)
            for size, stride, span in zip(self.sizes, self.strides, self.spans, strict=True)
        ]
        small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
        return (
            replace(self, begin=large, end=small) if auto_pad == "SAME_LOWER" else replace(self, begin=small, end=large)
        )

    @property
    def native(self) -> bool:
        """Whether torch pools with this padding by itself."""
        return self.begin == self.end and all(2 * pad <= k for pad, k in zip(self.begin, self.kernel, strict=True))

    def ceiled(self) -> list[int]:
        """Padding after each axis that makes a result of rounded-down size as large as the rounded-up one.

        A window that would start beyond the input and its first padding is dropped, as PyTorch and ONNX Runtime do.
        """
        reach = []
        for size, stride, span, first, last in zip(
            self.sizes, self.strides, self.spans, self.begin, self.end, strict=True
        ):
            count = -(-(size + first + last - span) // stride) + 1
            if (count - 1) * stride >= size + first:
                count -= 1
            reach.append(max(last, (count - 1) * stride + span - size - first))
        return reach


def _pad(x: Tensor, begin: Sequence[int], end: Sequence[int], value: float) -> Tensor:
    flat = [pad for pair in zip(reversed(begin), reversed(end), strict=True) for pad in pair]
    return F.pad(x, flat, value=value) if any(flat) else x
