"""What each ONNX operator does with rows: keeps them, slides a window over them, moves them to another axis - or not.

An operator that is not in the table may do anything, and ends the blocks that can be divided.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from models.rows import rules
from models.rows.chain import RowsError
from models.rows.given import Divided, Given


def divide(given: Given) -> Divided:
    """The rule for this node.

    Raises:
        RowsError: it cannot be computed on a band; says why, beginning with the operator.
    """
    operator = given.node.op_type
    rule = RULES.get(operator) if given.node.domain in ("", "ai.onnx") else None
    if rule is None:
        raise RowsError(f"{operator} {_why_not(operator)}")
    try:
        return rule(given)
    except RowsError as error:
        raise RowsError(f"{operator} {error}") from error
    except (KeyError, IndexError, TypeError, ValueError) as error:
        # Attributes come from a file that nobody vouches for.
        raise RowsError(f"{operator} has attributes that do not fit its input") from error


WINDOWS: Final = ("AveragePool", "Conv", "MaxPool")
"""Operators that slide a window over the rows."""

_ELEMENTWISE: Final = (
    "Abs Acos Acosh Add And Asin Asinh Atan Atanh Cast CastLike Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor "
    "Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean "
    "Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt "
    "Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor"
)
_REDUCTIONS: Final = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"

RULES: Final[dict[str, Callable[[Given], Divided]]] = {
    **dict.fromkeys(_ELEMENTWISE.split(), rules.keep),
    **dict.fromkeys((f"Reduce{name}" for name in _REDUCTIONS.split()), rules.reduce),
    **dict.fromkeys(WINDOWS, rules.slides),
    "BatchNormalization": rules.channels,
    "Concat": rules.along,
    "Dropout": rules.first_only,
    "Gather": rules.gather,
    "LRN": rules.channels,
    "LayerNormalization": rules.layer_norm,
    "LogSoftmax": rules.normalised_exponentials,
    "MatMul": rules.matmul,
    "Pad": rules.pad,
    "Slice": rules.slice_,
    "Softmax": rules.normalised_exponentials,
    "Split": rules.along,
    "Squeeze": rules.squeeze,
    "Transpose": rules.transpose,
    "Unsqueeze": rules.unsqueeze,
}

_WHOLE: Final = frozenset(
    {"GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "GroupNormalization", "InstanceNormalization", "Gemm"}
)
_MIXES: Final = frozenset({"DepthToSpace", "Einsum", "Flatten", "Reshape", "SpaceToDepth"})


def _why_not(operator: str) -> str:
    if operator in _WHOLE:
        return "needs all rows"
    return "mixes rows with other axes" if operator in _MIXES else "may need any row"
