"""ONNX Runtime as a backend: one session per stage, weights mapped from the blob store's folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import onnxruntime

from models.runtime.checks import BackendError, check_inputs
from models.stage import StageSlice
from schemas.codec import Array
from schemas.model import TensorSpec

_log = logging.getLogger(__name__)

Accelerator = Literal["auto", "cpu", "cuda", "tensorrt"]

_CPU: Final = "CPUExecutionProvider"
_CUDA: Final = ("CUDAExecutionProvider", {"use_tf32": "0"})
_TENSORRT: Final = ("TensorrtExecutionProvider", {"trt_engine_cache_enable": "1"})


class OnnxRunner:
    """One stage in an ONNX Runtime session; see `models.runtime.StageRunner`."""

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
        self._fetches = list(piece.fetches)
        self._passed = tuple(spec.name for spec in piece.outputs if spec.name not in piece.fetches)
        self._session = _session(piece, blobs, threads, accelerator)

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """As `StageRunner.run`; tensors that pass through are returned as they are, not copied."""
        check_inputs(self.inputs, tensors)
        if self._session is None:
            raise BackendError("this stage was closed; load it again")
        made = self._session.run(self._fetches, {name: tensors[name] for name in self._feeds})
        answers = dict(zip(self._fetches, made, strict=True))
        answers.update((name, tensors[name]) for name in self._passed)
        return answers

    def close(self) -> None:
        """Free the session."""
        self._session = None


def providers(available: list[str], accelerator: Accelerator) -> list[str | tuple[str, dict[str, str]]]:
    """Execution providers in order of preference, always ending with the CPU.

    TensorRT is used only when asked for: it builds an engine for minutes per slice, and rounds to TF32, where `auto`
    promises answers equal to the CPU's.
    """
    wanted = {"auto": [_CUDA], "cpu": [], "cuda": [_CUDA], "tensorrt": [_TENSORRT, _CUDA]}[accelerator]
    return [*(provider for provider in wanted if provider[0] in available), _CPU]


def _session(
    piece: StageSlice, blobs: Path, threads: int, accelerator: Accelerator
) -> onnxruntime.InferenceSession | None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would burn the quota that the next stage on this device needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Packed copies of weights would double them; unpacked ones stay mapped from the blob files.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(blobs.resolve()))
    chosen = providers(onnxruntime.get_available_providers(), accelerator)
    try:
        return onnxruntime.InferenceSession(piece.model.SerializeToString(), options, providers=chosen)
    except Exception as error:
        # ONNX Runtime raises a class of its own per status code, with nothing but Exception in common.
        raise BackendError(f"ONNX Runtime cannot run {piece.model.graph.name}: {error}") from error
