"""From a source to a card and its blobs, once: whatever happens later needs neither PyTorch nor the source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import onnx
from onnx import shape_inference

from models.catalog import Source, resolve
from models.graph import Analysis, analyse
from models.library import Library
from models.normalise import PictureInput, take_pictures
from models.onnx_file import read_onnx
from models.proto import reads
from models.tidy import fold, tidy
from models.weights import externalise
from schemas.base import check_name
from schemas.model import Blob, Block, ModelCard, Preprocess

Progress = Callable[[str, float], None]

_MAX_BLOCKS: Final = 4096


def import_model(
    source: str,
    library: Library,
    *,
    name: str | None = None,
    weights: Literal["default", "random"] = "default",
    seed: int = 0,
    input_shape: tuple[int, ...] | None = None,
    progress: Progress | None = None,
) -> ModelCard:
    """Import a model into a library: its weights become blobs, its graph a blob of its own, and a card describes both.

    Picture models take uint8 pictures [1,H,W,3]; their normalisation is the first block. The batch is always 1.

    Args:
        source: see `models.catalog.resolve`.
        library: where blobs and card go.
        name: how the model is called on the bus; made from `source` when not given.
        weights: `random` needs no download; answers mean nothing but differ from picture to picture.
        seed: of the random weights.
        input_shape: for factories, and for `.onnx` files whose first input has open dimensions.
        progress: called with what is being done and the share done so far, 0 to 1.

    Raises:
        models.catalog.UnknownModelError, models.torch_source.SourceError: no such model, or it cannot be had.
        models.onnx_file.NotOnnxError, models.onnx_file.DynamicShapeError, models.tidy.UnrunnableError: a bad file.
        models.graph.GraphError: inputs or outputs that frames cannot carry.
        models.durable.StoreFullError: no room.
        schemas.base.InvalidNameError: `name` cannot be a topic level.
    """
    say = progress or (lambda _what, _share: None)
    origin = resolve(source)
    name = check_name("model", name if name is not None else origin.default_name)
    say("building the model", 0.0)
    model, picture, labels = _load(origin, weights, seed, input_shape, say)
    say("storing its weights", 0.6)
    model = tidy(model)
    if picture:
        take_pictures(model, picture)
    blobs = externalise(model.graph, library.blobs.add)
    say("looking for cut points", 0.9)
    model = _infer(model)
    analysis = analyse(model)
    card = _card(name, origin, analysis, model, blobs, library)
    if picture:
        card = card.model_copy(update={"preprocess": Preprocess(resize=picture.resize, crop=picture.crop)})
    if labels and card.outputs[0].shape[-1:] == (len(labels),):
        card = card.model_copy(update={"labels": labels})
    library.save(card)
    say("done", 1.0)
    return card


def _load(
    origin: Source, weights: Literal["default", "random"], seed: int, input_shape: tuple[int, ...] | None, say: Progress
) -> tuple[onnx.ModelProto, PictureInput | None, tuple[str, ...]]:
    if origin.kind == "onnx":
        model = read_onnx(Path(origin.text), input_shape)
        say("folding constants", 0.3)
        return fold(model), None, ()
    from models.torch_source import build, export  # noqa: PLC0415 - an .onnx file needs no PyTorch

    made = build(origin, weights=weights, seed=seed, input_shape=input_shape)
    say("exporting it to ONNX", 0.2)
    return export(made), made.picture, made.labels


def _infer(model: onnx.ModelProto) -> onnx.ModelProto:
    """With the shape of every tensor that has one. The large weights are gone by now, so this is quick."""
    del model.graph.value_info[:]
    return shape_inference.infer_shapes(model, data_prop=True)


def _card(
    name: str, origin: Source, found: Analysis, model: onnx.ModelProto, blobs: dict[str, Blob], library: Library
) -> ModelCard:
    unique = list({blob.sha256: blob for blob in blobs.values()}.values())
    index = {blob.sha256: i for i, blob in enumerate(unique)}

    def with_blobs(block: Block) -> Block:
        nodes = model.graph.node[block.first_node : block.last_node]
        used = dict.fromkeys(index[blobs[n].sha256] for node in nodes for n in reads(node) if n in blobs)
        return block.model_copy(update={"blobs": tuple(used)})

    # Shapes live in the card; without them the graph blob is half the size.
    del model.graph.value_info[:]
    return ModelCard(
        name=name,
        source=origin.text if origin.kind != "onnx" else Path(origin.text).name,
        graph=library.blobs.add(model.SerializeToString(deterministic=True)),
        blobs=tuple(unique),
        blocks=tuple(map(with_blobs, found.blocks)),
        cuts=found.cuts,
        inputs=found.inputs,
        outputs=found.outputs,
        notes=found.notes,
    )
