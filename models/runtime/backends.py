"""What can compute a stage. Each backend is imported only when it is the one asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from models.runtime.checks import Accelerator, BackendError
from models.runtime.stage_runner import StageRunner
from models.stage import StageSlice

Backend = Literal["onnxruntime", "torch"]


def build(
    piece: StageSlice,
    blobs: Path,
    backend: Backend,
    *,
    threads: int,
    accelerator: Accelerator,
    memory_bytes: int = 0,
) -> StageRunner:
    """A runner for a piece of a model whose weights are files in `blobs`; `memory_bytes` is what it says it takes.

    Raises:
        models.runtime.checks.BackendError: the runtime cannot run this graph, or is not installed.
    """
    with _installed(backend):
        if backend == "torch":
            from models.runtime.torch_backend import TorchRunner  # noqa: PLC0415 - 300 MB, only where it is wanted

            return TorchRunner(piece, blobs, threads=threads, memory_bytes=memory_bytes, accelerator=accelerator)
        from models.runtime.onnx_backend import OnnxRunner  # noqa: PLC0415 - a torch worker needs no ONNX Runtime

        return OnnxRunner(piece, blobs, threads=threads, memory_bytes=memory_bytes, accelerator=accelerator)


def accelerated(backend: Backend) -> bool:
    """Whether the backend computes beside the CPU unless told otherwise.

    Raises:
        models.runtime.checks.BackendError: the backend is not installed.
    """
    with _installed(backend):
        if backend == "torch":
            import torch  # noqa: PLC0415 - only when it is the backend

            return torch.cuda.is_available()
        import onnxruntime  # noqa: PLC0415 - only when it is the backend

        return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


@contextmanager
def _installed(backend: Backend) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise BackendError(
            f"the backend {backend} is not installed here ({error}): pip install 'stageline[torch]', "
            "or use the backend onnxruntime"
        ) from error
