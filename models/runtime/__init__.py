"""Runs stages. Two backends behind one small interface; PyTorch is imported only when it is the backend asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from models.blobs import BlobStore
from models.runtime.checks import Accelerator, BackendError
from models.runtime.need import stage_memory_bytes
from models.stage import stage_model
from schemas.codec import Array
from schemas.model import ModelCard, TensorSpec

__all__ = ["Backend", "StageRunner", "load_stage", "stage_memory_bytes"]

Backend = Literal["onnxruntime", "torch"]


class StageRunner(Protocol):
    """A loaded stage. `run` is a pure function of its tensors; one call at a time."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """All tensors of the cut before the stage."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """All tensors of the cut after it."""

    @property
    def memory_bytes(self) -> int:
        """What the stage takes in this process (an estimate, see `stage_memory_bytes`)."""

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """The tensors of the cut after the stage, from those of the cut before it.

        Raises:
            models.runtime.checks.WrongInputError: a tensor is missing, unknown, or of another type or shape.
        """

    def close(self) -> None:
        """Give the memory back; `run` must not be called again."""


def load_stage(
    card: ModelCard,
    store: BlobStore,
    first: int,
    last: int,
    *,
    backend: Backend = "onnxruntime",
    threads: int = 1,
    accelerator: Accelerator = "auto",
) -> StageRunner:
    """Build blocks `[first, last)` from blobs that are all in `store`; not for an event loop: takes up to a second.

    Raises:
        models.blobs.MissingBlobError, models.blobs.WrongHashError: a blob is not here, or damaged.
        models.stage.BadGraphError: the graph does not fit the card.
        models.runtime.checks.BackendError: the runtime cannot run this graph, or is not installed.
    """
    piece = stage_model(card, store, first, last)
    memory = stage_memory_bytes(card, first, last)
    shas = [weight.sha256 for weight in piece.weights]
    store.pin(shas)
    try:
        for sha in shas:
            store.path(sha)
        if backend == "torch":
            from models.runtime.torch_backend import TorchRunner  # noqa: PLC0415 - 300 MB, only where it is wanted

            return TorchRunner(piece, store.root, threads=threads, memory_bytes=memory, accelerator=accelerator)
        from models.runtime.onnx_backend import OnnxRunner  # noqa: PLC0415 - a torch worker needs no ONNX Runtime

        return OnnxRunner(piece, store.root, threads=threads, memory_bytes=memory, accelerator=accelerator)
    except ImportError as error:
        raise BackendError(
            f"the backend {backend} is not installed here ({error}): pip install 'stageline[torch]', "
            "or use the backend onnxruntime"
        ) from error
    finally:
        store.unpin(shas)
