"""What every backend checks before it computes, and the errors they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from schemas.codec import Array
from schemas.model import TensorSpec

Accelerator = Literal["auto", "cpu", "cuda", "tensorrt"]
"""Where ONNX Runtime computes; `auto` takes CUDA where it is, else the CPU."""


class BackendError(RuntimeError):
    """A runtime that is not installed, or that cannot run this graph; says what to do."""


class WrongInputError(ValueError):
    """Tensors that a stage does not take; says what was expected and what was given."""


def check_inputs(expected: Sequence[TensorSpec], given: Mapping[str, Array]) -> None:
    """Check names, element types and shapes.

    Raises:
        WrongInputError: naming the first tensor that differs.
    """
    for spec in expected:
        array = given.get(spec.name)
        if array is None:
            raise WrongInputError(f"expected {_all(expected)}; {spec.name} is missing from {sorted(given)}")
        # Compared as dtypes, not by name: swapped bytes have the same name.
        if array.shape != spec.shape or array.dtype != spec.dtype:
            raise WrongInputError(f"expected {spec}, given {array.dtype}[{'x'.join(map(str, array.shape))}]")
    if len(given) != len(expected):
        unknown = sorted(given.keys() - {spec.name for spec in expected})
        raise WrongInputError(f"expected {_all(expected)}; {', '.join(unknown)} is not among them")


def _all(expected: Sequence[TensorSpec]) -> str:
    return ", ".join(map(str, expected))
