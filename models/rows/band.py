"""One band ready to compute: blocks `[0, last)` on some rows of the picture, in a runtime."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from models.blobs import BlobStore
from models.proto import reads
from models.rows.band_graph import BandGraph
from models.rows.chain import Rows
from models.rows.cost import band_memory_bytes
from models.rows.legal import deepest
from models.rows.specs import band_input, band_output
from models.runtime import Backend, StageRunner, load_piece
from models.runtime.checks import Accelerator
from models.stage import StageSlice, cut_stage
from schemas.model import ModelCard, TensorSpec


def band_model(
    card: ModelCard, store: BlobStore, last: int, takes: Rows, gives: Rows, *, by_window: bool = True
) -> StageSlice:
    """The graph of one band: the nodes and weights of blocks `[0, last)`, padding only at the picture's true borders.

    It takes `models.rows.specs.band_input(card, takes)` and gives `band_output(card, last, gives)`; rows that it is
    given beyond what it needs are cut away. `by_window` is for ONNX Runtime, see `models.rows.crops`.

    Raises:
        models.rows.chain.RowsError: bands are not possible so far, no such rows, or `takes` lacks some of the halo.
        models.blobs.MissingBlobError, models.blobs.WrongHashError: the graph blob is not here or damaged.
        models.stage.BadGraphError: the graph does not fit the card.
    """
    return _cut_band(card, store.read(card.graph.sha256), last, takes, gives, by_window=by_window)[0]


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
    blob = store.read(card.graph.sha256)
    piece, memory = _cut_band(card, blob, last, takes, gives, by_window=backend == "onnxruntime")
    return load_piece(piece, store, backend, threads=threads, memory_bytes=memory, accelerator=accelerator)


def _cut_band(
    card: ModelCard, graph_blob: bytes, last: int, takes: Rows, gives: Rows, *, by_window: bool
) -> tuple[StageSlice, int]:
    """The band, and what it takes in memory (bytes)."""
    taken, given = band_input(card, takes), band_output(card, last, gives)
    chain = deepest(card, graph_blob).chain(last)
    whole = cut_stage(card, graph_blob, 0, last)
    graph = whole.model.graph
    opset = max((entry.version for entry in whole.model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    band = BandGraph(chain, graph, opset, takes, gives, by_window=by_window)
    used = {name for node in band.nodes for name in reads(node)}
    piece = onnx.GraphProto(
        name=f"{card.name}[0:{last}) rows {gives[0]}:{gives[1]}",
        node=band.nodes,
        initializer=[*(tensor for tensor in graph.initializer if tensor.name in used), *band.constants],
        sparse_initializer=[tensor for tensor in graph.sparse_initializer if tensor.values.name in used],
        input=[_value_info(taken)],
        output=[_value_info(given)],
    )
    model = onnx.ModelProto(ir_version=whole.model.ir_version, opset_import=whole.model.opset_import, graph=piece)
    weights = tuple(weight for weight in whole.weights if weight.spec.name in used)
    stage = StageSlice(model, (taken,), (given,), (taken.name,), (given.name,), weights)
    return stage, band_memory_bytes(card, chain, gives)


def _value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(spec.name, helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), spec.shape)
