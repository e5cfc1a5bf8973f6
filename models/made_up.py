"""Made-up tensors of the right shapes: what a block costs does not depend on what its weights say."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np

from models.weights import Weight
from schemas.codec import Array
from schemas.model import TensorSpec


def made_up_tensor(spec: TensorSpec) -> Array:
    """Something a boundary tensor could be: normal floats, any byte, zeros for integers, which may be indices."""
    if spec.dtype.startswith("float"):
        return np.resize(_normal(), spec.shape).astype(spec.dtype, copy=False)
    if spec.dtype == "uint8":
        return np.resize(np.arange(256, dtype=np.uint8), spec.shape)
    return np.zeros(spec.shape, spec.dtype)


class MadeUpWeights:
    """A folder that looks like a blob store's to a runtime, with numbers in the place of the blobs'."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._here: set[str] = set()

    def have(self, weights: Iterable[Weight]) -> None:
        """Make the files of these weights, and remove all others."""
        wanted = {weight.sha256: weight.spec for weight in weights}
        for sha in self._here - wanted.keys():
            (self.folder / sha).unlink()
        for sha in wanted.keys() - self._here:
            self._write(self.folder / sha, wanted[sha])
        self._here = set(wanted)

    def _write(self, path: Path, spec: TensorSpec) -> None:
        data = _weight_numbers(spec).tobytes()
        times, rest = divmod(spec.nbytes, len(data))
        with path.open("wb") as file:
            for _ in range(times):
                file.write(data)
            file.write(data[:rest])


def _weight_numbers(spec: TensorSpec) -> Array:
    """Numbers to repeat: normal ones scaled by the fan-in (He et al., ICCV 2015), a vector's around one.

    So activations neither vanish (denormal numbers are slow) nor overflow, and no variance is negative. Integers,
    which may be indices, are zero.
    """
    if not spec.dtype.startswith("float"):
        return np.zeros(_normal().shape, spec.dtype)
    if len(spec.shape) < 2:
        numbers = np.abs(_normal()) + np.float32(0.5)
    else:
        fan_in = math.prod(spec.shape[1:]) if len(spec.shape) > 2 else min(spec.shape)
        numbers = _normal() * np.float32(math.sqrt(2 / max(1, fan_in)))
    return numbers.astype(spec.dtype, copy=False)


@cache
def _normal() -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Numbers enough to be irregular; larger tensors repeat them. A prime count, so that rows differ."""
    return np.random.default_rng(0).standard_normal(65521, np.float32)
