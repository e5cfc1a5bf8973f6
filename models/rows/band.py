"""One band ready to compute: blocks `[0, last)` on some rows of the picture, in a runtime."""

from __future__ import annotations

from models.blobs import BlobStore
from models.rows.chain import Rows
from models.runtime import Backend, StageRunner
from models.runtime.checks import Accelerator
from models.stage import StageSlice
from schemas.model import ModelCard


def band_model(card: ModelCard, store: BlobStore, last: int, takes: Rows, gives: Rows) -> StageSlice:
    """The graph of one band: the nodes and weights of blocks `[0, last)`, padding only at the picture's true borders.

    It takes `models.rows.specs.band_input(card, takes)` and gives `band_output(card, last, gives)`; rows that it is
    given beyond what it needs are cut away.

    Raises:
        models.rows.chain.RowsError: bands are not possible so far, no such rows, or `takes` lacks some of the halo.
        models.blobs.MissingBlobError, models.blobs.WrongHashError: the graph blob is not here or damaged.
        models.stage.BadGraphError: the graph does not fit the card.
    """
    raise NotImplementedError


def load_band(
    card: ModelCard,
    store: BlobStore,
    last: int,
    takes: Rows,
    gives: Rows,
    *,
    backend: Backend = "onnxruntime",
    threads: int = 1,
    accelerator: Accelerator = "auto",
) -> StageRunner:
    """A band from blobs that are all in `store` (`card.stage_blobs(0, last)`); not for an event loop.

    Its runner's `inputs` and `outputs` are specs of the rows that it takes and gives.

    Raises:
        models.rows.chain.RowsError: as `band_model`.
        models.blobs.MissingBlobError, models.blobs.WrongHashError: a blob is not here, or damaged.
        models.stage.BadGraphError: the graph does not fit the card.
        models.runtime.checks.BackendError: the runtime cannot run this graph, or is not installed.
    """
    raise NotImplementedError
