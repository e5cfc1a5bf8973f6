"""From a source to a card and its blobs, once: whatever happens later needs neither PyTorch nor the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from onnx import shape_inference

from models.catalog import Source, SourceError, Weights, resolve
from models.classifier_notes import read_notes
from models.exits.declared import UNCALIBRATED, Declared, declare, read_declared
from models.exits.placing import place_heads
from models.graph import analyse
from models.library import Library
from models.normalise import PictureInput, take_pictures
from models.onnx_file import read_onnx
from models.proto import reads
from models.tidy import fold, tidy
from models.weights import externalise
from schemas.base import check_name
from schemas.model import Blob, Block, ModelCard, Preprocess

Progress = Callable[[str, float], None]


def import_model(
    source: str,
    library: Library,
    *,
    name: str | None = None,
    weights: Weights = "default",
    seed: int = 0,
    input_shape: tuple[int, ...] | None = None,
    progress: Progress | None = None,
) -> ModelCard:
    """Import a model into a library: its weights become blobs, its graph a blob of its own, and a card describes both.

    Picture models take uint8 pictures [1,H,W,3]; their normalisation is the first block. The batch is always 1.

    A model may have exits. An `.onnx` file declares them in its metadata, as `models.exits.declared` says; a factory's
    module by an attribute `stageline_exits` (see `models.torch_source.build`).

    Args:
        source: see `models.catalog.resolve`.
        library: where blobs and card go.
        name: how the model is called on the bus; made from `source` when not given.
        weights: `random` needs no download; answers mean nothing but differ from picture to picture.
        seed: of the random weights.
        input_shape: for factories, and for `.onnx` files whose first input has open dimensions.
        progress: called with what is being done and the share done so far, 0 to 1.

    Raises:
        models.catalog.UnknownModelError, models.catalog.SourceError: no such model, or it cannot be had.
        models.onnx_file.NotOnnxError, models.onnx_file.DynamicShapeError, models.tidy.UnrunnableError: a bad file.
        models.classifier_notes.BadNotesError: a file's metadata on pictures or labels cannot be used.
        models.exits.declared.ExitError: exits that are badly declared, or that the model cannot have.
        models.graph.GraphError: inputs or outputs that frames cannot carry.
        models.durable.StoreFullError: no room.
        schemas.base.InvalidNameError: `name` cannot be a topic level.
    """
    say = progress or (lambda _what, _share: None)
    origin = resolve(source)
    name = check_name("model", name if name is not None else origin.default_name)
    say("building the model", 0.0)
    loaded = _load(origin, weights, seed, input_shape, say)
    say("storing its weights", 0.6)
    model = tidy(loaded.model)
    if loaded.picture:
        take_pictures(model, loaded.picture)
    blobs = externalise(model.graph, library.blobs.add)
    say("looking for cut points", 0.9)
    # The large weights are gone by now, so this is quick whatever the model.
    del model.graph.value_info[:]
    heads = place_heads(model, loaded.declared.exits)
    found = analyse(shape_inference.infer_shapes(model, data_prop=True), heads)
    unique = tuple({blob.sha256: blob for blob in blobs.values()}.values())
    card = ModelCard(
        name=name,
        source=Path(source).name if origin.kind == "onnx" else source,
        graph=library.blobs.add(model.SerializeToString(deterministic=True)),
        blobs=unique,
        blocks=tuple(_with_blobs(block, model.graph, blobs, unique) for block in found.blocks),
        cuts=found.cuts,
        inputs=found.inputs,
        outputs=found.outputs,
        preprocess=_preprocess(loaded.picture),
        labels=loaded.labels if found.outputs[0].shape[-1:] == (len(loaded.labels),) else (),
        notes=(*found.notes, *_notes(loaded.declared)),
        exits=found.exits,
        operating_points=loaded.declared.points,
    )
    library.save(card)
    say("done", 1.0)
    return card


@dataclass(frozen=True)
class _Loaded:
    model: onnx.ModelProto
    picture: PictureInput | None = None
    labels: tuple[str, ...] = ()
    declared: Declared = field(default_factory=Declared)


def _load(origin: Source, weights: Weights, seed: int, input_shape: tuple[int, ...] | None, say: Progress) -> _Loaded:
    if origin.kind == "onnx":
        model = read_onnx(Path(origin.text), input_shape)
        declared = read_declared(model)
        picture, labels = read_notes(model)
        say("folding constants", 0.3)
        return _Loaded(fold(model), picture, labels, declared)
    try:
        from models.torch_source import build, export  # noqa: PLC0415 - an .onnx file needs no PyTorch
    except ImportError as error:
        raise SourceError(
            f"importing {origin.text} needs PyTorch: pip install 'stageline[torch]', or import it on another machine, "
            "or give an .onnx file"
        ) from error
    made = build(origin, weights=weights, seed=seed, input_shape=input_shape)
    say("exporting it to ONNX", 0.2)
    model = export(made)
    declared = declare(made.exits, [value.name for value in model.graph.output]) if made.exits else Declared()
    return _Loaded(model, made.picture, made.labels, declared)


def _notes(declared: Declared) -> Iterator[str]:
    if declared.exits and not declared.points and all(one.threshold == UNCALIBRATED for one in declared.exits):
        yield (
            "its exits are not calibrated: next to nothing leaves at them until 'stageline exits calibrate' or "
            "thresholds of yours say how sure is enough"
        )


def _preprocess(picture: PictureInput | None) -> Preprocess | None:
    return Preprocess(resize=picture.resize, crop=picture.crop) if picture else None


def _with_blobs(block: Block, graph: onnx.GraphProto, blobs: dict[str, Blob], unique: tuple[Blob, ...]) -> Block:
    nodes = graph.node[block.first_node : block.last_node]
    needed = dict.fromkeys(unique.index(blobs[name]) for node in nodes for name in reads(node) if name in blobs)
    return block.model_copy(update={"blobs": tuple(needed)})
