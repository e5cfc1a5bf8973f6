"""PyTorch as a backend: a stage as a torch.fx module, on CUDA where PyTorch has it.

For devices where CUDA builds of PyTorch are what is installed (Jetson). Answers equal ONNX Runtime's: TF32 stays off.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, fx

from models.runtime.checks import Accelerator, BackendError, check_inputs
from models.runtime.heap import keep_activations
from models.runtime.passed import Passed
from models.runtime.torch_module import build_module
from models.stage import StageSlice
from models.weights import Weight
from schemas.codec import Array
from schemas.model import TensorSpec


class TorchRunner:
    """One stage as a torch module; see `models.runtime.StageRunner`."""

    def __init__(
        self,
        piece: StageSlice,
        blobs: Path,
        *,
        threads: int = 1,
        memory_bytes: int = 0,
        accelerator: Accelerator = "auto",
    ) -> None:
        self.inputs: tuple[TensorSpec, ...] = piece.inputs
        self.outputs: tuple[TensorSpec, ...] = piece.outputs
        self.memory_bytes = memory_bytes
        self._feeds = piece.feeds
        self._fetches = piece.fetches
        self._passed = piece.passed
        self._threads = threads
        keep_activations()
        self._device = torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
        if self._device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
        weights = {weight.spec.name: _mapped(weight, blobs) for weight in piece.weights}
        self._module: fx.GraphModule | None = build_module(piece.model, weights).to(self._device)

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """As `StageRunner.run`; tensors that pass through are returned as they are, not copied."""
        check_inputs(self.inputs, tensors)
        if self._module is None:
            raise BackendError("this stage was closed; load it again")
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            made = self._module(*(_tensor(tensors[name]).to(self._device) for name in self._feeds))
            answers: dict[str, Array] = {
                name: value.contiguous().cpu().numpy() for name, value in zip(self._fetches, made, strict=True)
            }
        answers.update((name, tensors[name]) for name in self._passed)
        return answers

    def run_until(self, tensors: Mapping[str, Array], thresholds: Mapping[str, float]) -> Passed:  # noqa: ARG002
        """As `StageRunner.run_until`: nobody leaves where no exit is open."""
        return Passed(self.run(tensors))

    @property
    def device(self) -> str:
        """Where it computes: `cuda` or `cpu`."""
        return self._device.type

    @property
    def code(self) -> str:
        """The stage as Python, one line per operator; for people."""
        return self._module.code if self._module else ""

    def close(self) -> None:
        """Free the module."""
        self._module = None


def _tensor(array: Array) -> Tensor:
    # torch warns of arrays that may not be written to, as those of a received frame, though nothing here writes.
    return torch.from_numpy(array if array.flags.writeable and array.flags.c_contiguous else array.copy())


def _mapped(weight: Weight, blobs: Path) -> Tensor:
    """A blob as a tensor, mapped copy-on-write: pages that nobody reads are never loaded."""
    data = np.memmap(blobs / weight.sha256, dtype=weight.spec.dtype, mode="c", shape=weight.spec.shape)
    return torch.from_numpy(data)
