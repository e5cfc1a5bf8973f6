"""The table from ONNX operators to pure torch functions: what the `torch` backend can run.

A function's positional parameters are the operator's inputs and its keyword parameters the attributes, under ONNX's
names. An attribute that a function does not take makes the operator unsupported, rather than wrong.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from torch import Tensor

from models.runtime import torch_elements as elements
from models.runtime import torch_layers as layers
from models.runtime import torch_shapes as shapes
from models.runtime.checks import BackendError
from models.runtime.torch_elements import reduction


class UnsupportedOperatorError(BackendError):
    """An operator that the torch backend has no function for; names the node and the backend that has."""

    def __init__(self, operator: str, node: str, why: str = "it has no such operator") -> None:
        super().__init__(
            f"the torch backend cannot run {operator} (node {node!r}): {why}; "
            "use the onnxruntime backend on this device"
        )


@dataclass(frozen=True)
class Operator:
    """One line of the table.

    Attributes:
        function: pure; the operator's inputs by position, its attributes by name.
        static: inputs wanted as plain numbers (a list, or a scalar) where they are known before the graph runs.
        many: may have more than one output, returned as a sequence.
    """

    function: Callable[..., Any]
    static: tuple[str, ...] = ()
    many: bool = False

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Names of all parameters; none for torch's built-in functions, which take inputs only."""
        try:
            return tuple(inspect.signature(self.function).parameters)
        except ValueError:
            return ()

    def plain(self, index: int, value: Any) -> Any:
        """A known input as the function wants it: plain numbers where it says so, else as it is."""
        wanted = index < len(self.parameters) and self.parameters[index] in self.static
        return value.tolist() if wanted and isinstance(value, Tensor) else value


_LAYERS: Final = {
    "AveragePool": Operator(layers.average_pool),
    "BatchNormalization": Operator(layers.batch_normalization),
    "Conv": Operator(layers.conv),
    "ConvTranspose": Operator(layers.conv_transpose),
    "Gemm": Operator(layers.gemm),
    "GlobalAveragePool": Operator(layers.global_average_pool),
    "GlobalMaxPool": Operator(layers.global_max_pool),
    "GroupNormalization": Operator(layers.group_normalization),
    "InstanceNormalization": Operator(layers.instance_normalization),
    "LRN": Operator(layers.lrn),
    "LayerNormalization": Operator(layers.layer_normalization),
    "MaxPool": Operator(layers.max_pool),
}

_SHAPES: Final = {
    "Concat": Operator(shapes.concat),
    "ConstantOfShape": Operator(shapes.constant_of_shape, static=("shape",)),
    "DepthToSpace": Operator(shapes.depth_to_space),
    "Expand": Operator(shapes.expand, static=("shape",)),
    "Flatten": Operator(shapes.flatten),
    "Gather": Operator(shapes.gather),
    "GatherElements": Operator(shapes.gather_elements),
    "GatherND": Operator(shapes.gather_nd),
    "Pad": Operator(
        shapes.pad,
        static=(
            "pads",
            "value",
            "axes",
        ),
    ),
    "Range": Operator(shapes.range_),
    "Reshape": Operator(shapes.reshape, static=("shape",)),
    "ScatterND": Operator(shapes.scatter_nd),
    "Shape": Operator(shapes.shape),
    "Slice": Operator(
        shapes.slice_,
        static=(
            "starts",
            "ends",
            "axes",
            "steps",
        ),
    ),
    "SpaceToDepth": Operator(shapes.space_to_depth),
    "Split": Operator(shapes.split, static=("split",), many=True),
    "Squeeze": Operator(shapes.squeeze, static=("axes",)),
    "Tile": Operator(shapes.tile, static=("repeats",)),
    "Transpose": Operator(shapes.transpose),
    "Trilu": Operator(shapes.trilu, static=("k",)),
    "Unsqueeze": Operator(shapes.unsqueeze, static=("axes",)),
}

_ELEMENTS: Final = {
    "ArgMax": Operator(elements.arg_max),
    "ArgMin": Operator(elements.arg_min),
    "Cast": Operator(elements.cast),
    "CastLike": Operator(elements.cast_like),
    "Celu": Operator(elements.celu),
    "Clip": Operator(
        elements.clip,
        static=(
            "min",
            "max",
        ),
    ),
    "CumSum": Operator(elements.cumulative_sum, static=("axis",)),
    "Div": Operator(elements.divide),
    "Dropout": Operator(elements.dropout),
    "Einsum": Operator(elements.einsum),
    "Elu": Operator(elements.elu),
    "Gelu": Operator(elements.gelu),
    "HardSigmoid": Operator(elements.hard_sigmoid),
    "Identity": Operator(elements.identity),
    "LeakyRelu": Operator(elements.leaky_relu),
    "LogSoftmax": Operator(elements.log_softmax),
    "Max": Operator(elements.largest),
    "Mean": Operator(elements.averaged),
    "Min": Operator(elements.smallest),
    "Mod": Operator(elements.modulo),
    "PRelu": Operator(elements.prelu),
    "Pow": Operator(elements.power),
    "Selu": Operator(elements.selu),
    "Softmax": Operator(elements.softmax),
    "Sum": Operator(elements.summed),
    "Swish": Operator(elements.swish),
    "ThresholdedRelu": Operator(elements.thresholded_relu),
    "TopK": Operator(elements.top_k, static=("k",), many=True),
}

_PLAIN: Final[dict[str, Callable[..., Any]]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Add": torch.add,
    "And": torch.logical_and,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "HardSwish": F.hardswish,
    "IsNaN": torch.isnan,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "MatMul": torch.matmul,
    "Mish": F.mish,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
    "Where": torch.where,
    "Xor": torch.logical_xor,
}

_REDUCTIONS: Final[dict[str, Callable[[Tensor, list[int], bool], Tensor]]] = {
    "ReduceL1": lambda x, d, k: x.abs().sum(d, k),
    "ReduceL2": lambda x, d, k: x.square().sum(d, k).sqrt(),
    "ReduceLogSum": lambda x, d, k: x.sum(d, k).log(),
    "ReduceLogSumExp": torch.logsumexp,
    "ReduceMax": torch.amax,
    "ReduceMean": torch.mean,
    "ReduceMin": torch.amin,
    "ReduceSum": torch.sum,
    "ReduceSumSquare": lambda x, d, k: x.square().sum(d, k),
}

OPERATORS: Final[dict[str, Operator]] = {
    **_LAYERS,
    **_SHAPES,
    **_ELEMENTS,
    **{name: Operator(function) for name, function in _PLAIN.items()},
    **{name: Operator(reduction(fold), static=("axes",)) for name, fold in _REDUCTIONS.items()},
}
"""Every operator of ONNX's own domain that runs, by name."""
