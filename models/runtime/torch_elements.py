"""ONNX's element-wise operators, activations and reductions, where plain torch differs, as pure torch functions.

Each function takes an operator's inputs in ONNX's order and its attributes by name, with ONNX's defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Final

import onnx
import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from torch import Tensor

from models.runtime.torch_shapes import Ints, ints

DTYPES: Final[dict[int, torch.dtype]] = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.BFLOAT16: torch.bfloat16,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.UINT16: torch.uint16,
    onnx.TensorProto.INT16: torch.int16,
    onnx.TensorProto.UINT32: torch.uint32,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.UINT64: torch.uint64,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.BOOL: torch.bool,
}


def cast(x: Tensor, *, to: int) -> Tensor:
    """Cast to the element type of that ONNX number."""
    return x.to(DTYPES[to])


def cast_like(x: Tensor, like: Tensor) -> Tensor:
    """CastLike."""
    return x.to(like.dtype)


def identity(x: Tensor) -> Tensor:
    """Identity."""
    return x


def dropout(x: Tensor, *_training: Tensor, ratio: float = 0.5, seed: int = 0) -> Tensor:  # noqa: ARG001
    """Dropout at inference: nothing is dropped."""
    return x


def divide(a: Tensor, b: Tensor) -> Tensor:
    """Div; integers are rounded towards zero."""
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def power(x: Tensor, exponent: Tensor) -> Tensor:
    """Pow; the result has the type of the base."""
    return torch.pow(x, exponent).to(x.dtype)


def modulo(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    """Mod, with the divisor's sign, or the dividend's (`fmod`)."""
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


def clip(
    x: Tensor,
    min: Tensor | float | None = None,  # noqa: A002 - ONNX's name
    max: Tensor | float | None = None,  # noqa: A002 - ONNX's name
) -> Tensor:
    """Clip to `[min, max]`, either of which may be missing."""
    low = min.item() if isinstance(min, Tensor) else min
    high = max.item() if isinstance(max, Tensor) else max
    return x if low is None and high is None else torch.clamp(x, low, high)


def summed(*parts: Tensor) -> Tensor:
    """Sum of any number of tensors."""
    return reduce(torch.add, parts)


def averaged(*parts: Tensor) -> Tensor:
    """Mean of any number of tensors."""
    return summed(*parts) / len(parts)


def smallest(*parts: Tensor) -> Tensor:
    """Min of any number of tensors."""
    return reduce(torch.minimum, parts)


def largest(*parts: Tensor) -> Tensor:
    """Max of any number of tensors."""
    return reduce(torch.maximum, parts)


def softmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    """Softmax over one axis; before opset 13, over `axis` and all after it."""
    if opset >= 13:
        return torch.softmax(x, -1 if axis is None else axis)
    return torch.softmax(x.flatten(1 if axis is None else axis), -1).reshape(x.shape)


def log_softmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    """LogSoftmax over one axis; before opset 13, over `axis` and all after it."""
    if opset >= 13:
        return torch.log_softmax(x, -1 if axis is None else axis)
    return torch.log_softmax(x.flatten(1 if axis is None else axis), -1).reshape(x.shape)


def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """Gelu."""
    return F.gelu(x, approximate=approximate)


def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """HardSigmoid."""
    return torch.clamp(alpha * x + beta, 0, 1)


def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    """LeakyRelu."""
    return F.leaky_relu(x, alpha)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """PRelu; the slope is broadcast."""
    return torch.where(x < 0, x * slope, x)


def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Elu."""
    return F.elu(x, alpha)


def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Celu."""
    return F.celu(x, alpha)


def selu(x: Tensor, *, alpha: float = 1.6732632, gamma: float = 1.0507010) -> Tensor:
    """Selu."""
    return gamma * (torch.clamp(x, min=0) + torch.clamp(alpha * torch.expm1(x), max=0))


def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Swish: x sigmoid(alpha x)."""
    return x * torch.sigmoid(alpha * x)


def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """ThresholdedRelu: x where it is above alpha, else zero."""
    return torch.where(x > alpha, x, 0)


def einsum(*parts: Tensor, equation: str) -> Tensor:
    """Einsum."""
    return torch.einsum(equation, *parts)


def arg_max(x: Tensor, *, axis: int = 0, keepdims: int = 1) -> Tensor:
    """ArgMax along `axis`; of equals the first."""
    return x.argmax(axis, bool(keepdims))


def arg_min(x: Tensor, *, axis: int = 0, keepdims: int = 1) -> Tensor:
    """ArgMin along `axis`; of equals the first."""
    return x.argmin(axis, bool(keepdims))


def top_k(x: Tensor, k: Ints, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> list[Tensor]:  # noqa: A002
    """TopK: values and int64 indices."""
    return list(torch.topk(x, ints(k)[0], axis, bool(largest), bool(sorted)))


def cumulative_sum(x: Tensor, axis: Ints | int) -> Tensor:
    """CumSum, inclusive and forward."""
    return x.cumsum(int(axis.item()) if isinstance(axis, Tensor) else int(axis))  # type: ignore[arg-type]


Reduction = Callable[..., Tensor]


def reduction(fold: Callable[[Tensor, list[int], bool], Tensor]) -> Reduction:
    """A Reduce operator: `fold` over `axes` (an attribute in older opsets), or over all where there are none."""

    def reduced(x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
        over = [] if axes is None else ints(axes)
        if not over and noop_with_empty_axes:
            return x
        return fold(x, over or list(range(x.dim())), bool(keepdims)).to(x.dtype)

    return reduced
