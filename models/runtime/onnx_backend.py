"""ONNX Runtime as a backend: one session per stage, weights mapped from the blob store's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import onnxruntime

from models.runtime.checks import Accelerator, BackendError, check_inputs
from models.runtime.heap import return_freed_memory
from models.runtime.passed import Passed
from models.stage import StageSlice
from schemas.codec import Array
from schemas.model import TensorSpec

_WEIGHTS_FOLDER: Final = "session.model_external_initializers_file_folder_path"  # since ONNX Runtime 1.21
_CPU: Final = "CPUExecutionProvider"
_CUDA: Final = "CUDAExecutionProvider"
_TENSORRT: Final = "TensorrtExecutionProvider"


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
        self._passed = piece.passed
        self._name = piece.model.graph.name
        self._session: onnxruntime.InferenceSession | None = _session(piece, blobs, threads, accelerator)

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """As `StageRunner.run`; tensors that pass through are returned as they are, not copied."""
        check_inputs(self.inputs, tensors)
        if self._session is None:
            raise BackendError(f"{self._name} was closed; load it again")
        try:
            made = self._session.run(self._fetches, {name: tensors[name] for name in self._feeds})
        except Exception as error:
            # ONNX Runtime raises a class of its own per status code, with nothing but Exception in common.
            raise BackendError(f"ONNX Runtime failed in {self._name}: {error}") from error
        answers = dict(zip(self._fetches, made, strict=True))
        answers.update((name, tensors[name]) for name in self._passed)
        return answers

    def run_until(self, tensors: Mapping[str, Array], thresholds: Mapping[str, float]) -> Passed:  # noqa: ARG002
        """As `StageRunner.run_until`: nobody leaves where no exit is open."""
        return Passed(self.run(tensors))

    def close(self) -> None:
        """Free the session."""
        self._session = None


def providers(available: list[str], accelerator: Accelerator, engines: Path) -> list[tuple[str, dict[str, str]]]:
    """Execution providers with their options in order of preference, always ending with the CPU.

    TensorRT is used only when asked for: it builds an engine for minutes per slice, and rounds to TF32, where `auto`
    promises answers equal to the CPU's.
    """
    wanted = {"auto": [_CUDA], "cpu": [], "cuda": [_CUDA], "tensorrt": [_TENSORRT, _CUDA]}[accelerator]
    options = {
        _CUDA: {"use_tf32": "0"},
        _TENSORRT: {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(engines)},
    }
    return [*((name, options[name]) for name in wanted if name in available), (_CPU, {})]


def _session(piece: StageSlice, blobs: Path, threads: int, accelerator: Accelerator) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait burn the quota that the next stage on this device needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Planned activation layouts made no stage faster and took 2 to 5 MB more.
    options.enable_mem_pattern = False
    if not _multiplies_many_rows(piece):
        # Packed copies of the weights would double them; unpacked ones stay mapped from the blob files.
        options.add_session_config_entry("session.disable_prepacking", "1")
    options.add_session_config_entry(_WEIGHTS_FOLDER, str(blobs.resolve()))
    chosen = providers(onnxruntime.get_available_providers(), accelerator, blobs / "tensorrt-engines")
    try:
        session = onnxruntime.InferenceSession(piece.model.SerializeToString(), options, providers=chosen)
    except Exception as error:
        # As in `run`.
        raise BackendError(f"ONNX Runtime cannot run {piece.model.graph.name}: {error}") from error
    # Building leaves up to the weights' size as free heap, which glibc would keep for itself.
    return_freed_memory()
    return session


def _multiplies_many_rows(piece: StageSlice) -> bool:
    """Packing made a transformer's MatMuls 10 % faster; a batch of one through Gemm reads each weight only once."""
    constants = {tensor.name for tensor in piece.model.graph.initializer}
    return any(node.op_type == "MatMul" and constants.intersection(node.input) for node in piece.model.graph.node)
