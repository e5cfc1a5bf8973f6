"""Runs stages. Two backends behind one small interface; PyTorch is imported only when it is the backend asked for."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack

from models.blobs import BlobStore
from models.entering import summed_as_undivided
from models.exits.opened import exits_within, segments
from models.runtime.backends import Backend, build
from models.runtime.checks import Accelerator
from models.runtime.need import stage_memory_bytes
from models.runtime.passed import Passed
from models.runtime.segmented import Part, SegmentedRunner
from models.runtime.stage_runner import StageRunner
from models.stage import StageSlice, stage_model
from schemas.model import ModelCard

__all__ = ["Backend", "Passed", "StageRunner", "load_piece", "load_stage", "stage_memory_bytes"]


def load_stage(
    card: ModelCard,
    store: BlobStore,
    first: int,
    last: int,
    *,
    exits: Collection[str] = (),
    backend: Backend = "onnxruntime",
    threads: int = 1,
    accelerator: Accelerator = "auto",
) -> StageRunner:
    """Build blocks `[first, last)` from blobs that are all in `store`; not for an event loop: takes up to a second.

    Args:
        card: the model.
        store: holds its graph and the blobs of these blocks.
        first: block.
        last: block.
        exits: those that are open, anywhere in the model. Heads of all others are not even loaded.
        backend: what computes.
        threads: for each operator.
        accelerator: where there is one.

    Raises:
        models.blobs.MissingBlobError, models.blobs.WrongHashError: a blob is not here, or damaged.
        models.stage.BadGraphError: the graph does not fit the card.
        models.exits.declared.ExitError: the model has no such exit.
        models.runtime.checks.BackendError: the runtime cannot run this graph, or is not installed.
    """
    opened = exits_within(card, first, last, exits)
    memory = stage_memory_bytes(card, first, last, exits)
    if not opened:
        piece = _as_undivided(stage_model(card, store, first, last), first, backend)
        return load_piece(piece, store, backend, threads=threads, memory_bytes=memory, accelerator=accelerator)
    parts: list[Part] = []
    with ExitStack() as made_so_far:
        for one in segments(first, last, opened):
            piece = stage_model(card, store, one.first, one.last, at_end=one.exit)
            piece = _as_undivided(piece, one.first, backend)
            runner = load_piece(piece, store, backend, threads=threads, memory_bytes=0, accelerator=accelerator)
            made_so_far.callback(runner.close)
            parts.append(Part(runner, one.exit))
        made_so_far.pop_all()
    return SegmentedRunner(parts, card.outputs[0].name, memory_bytes=memory)


def load_piece(
    piece: StageSlice,
    store: BlobStore,
    backend: Backend,
    *,
    threads: int,
    memory_bytes: int,
    accelerator: Accelerator,
) -> StageRunner:
    """Build any piece of a model whose weights are all in `store`; `memory_bytes` is what its runner says it takes.

    Raises:
        models.blobs.MissingBlobError, models.blobs.WrongHashError: a blob is not here, or damaged.
        models.runtime.checks.BackendError: the runtime cannot run this graph, or is not installed.
    """
    shas = [weight.sha256 for weight in piece.weights]
    store.pin(shas)
    try:
        for sha in shas:
            store.path(sha)
        return build(piece, store.root, backend, threads=threads, memory_bytes=memory_bytes, accelerator=accelerator)
    finally:
        store.unpin(shas)


def _as_undivided(piece: StageSlice, first: int, backend: Backend) -> StageSlice:
    return summed_as_undivided(piece) if first > 0 and backend == "onnxruntime" else piece
