"""A trained network into a folder: its ONNX file with the exits declared, its training card, its validation data."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import nn

from models.classifier_notes import write_notes
from models.durable import write_file
from models.exits.card_files import TEST, VALIDATION, write_card
from models.exits.course import Epoch
from models.exits.declared import UNCALIBRATED, declare, write_declared
from models.exits.heads import HEAD_WIDTH
from models.exits.measured import Measured
from models.exits.multi_exit import MultiExit
from models.exits.recipe import Recipe
from models.exits.training_card import Examples, ExitFigures, TrainingCard
from models.exits.weights_file import weights_sha256
from models.importer import import_model
from models.library import Library
from models.tidy import tidy
from models.torch_source import TorchModel, export
from schemas.base import check_name
from schemas.model import ModelCard


@dataclass(frozen=True)
class Facts:
    """What is known of a training run beside the network itself."""

    name: str
    """Of the model that comes of it."""
    backbone: str
    weights: str
    data: str
    classes: tuple[str, ...]
    examples: Examples
    recipe: Recipe
    course: tuple[Epoch, ...]
    trained_on: str
    took_s: float
    input_shape: tuple[int, ...] = ()
    """Of the backbone, where somebody had to say it."""
    head_width: int = HEAD_WIDTH


def write_trained(  # noqa: PLR0917 - what a run leaves behind
    folder: Path, model: MultiExit, made: TorchModel, facts: Facts, validation: Measured, test: Measured
) -> TrainingCard:
    """Write the folder; thresholds are still to be chosen (`models.exits.calibrated.calibrate`).

    The ONNX file is imported once to see that it can be, and to learn which blocks the exits follow.

    Args:
        folder: made when missing.
        model: trained, in evaluation mode.
        made: its backbone as it was loaded: example, picture and labels.
        facts: for the card.
        validation: what every exit says of the validation examples.
        test: the same of the test examples.

    Raises:
        models.catalog.SourceError: PyTorch cannot export it.
        models.exits.declared.ExitError: an exit that cannot stand where it reads.
        models.durable.StoreFullError: no room.
    """
    graph = to_onnx(model, made)
    file = f"{check_name('model', facts.name)}.onnx"
    write_file(folder / file, graph.SerializeToString(deterministic=True))
    with tempfile.TemporaryDirectory(prefix="stageline-") as library:
        imported = import_model(str(folder / file), Library(Path(library)), name=facts.name)
    validation.save(folder / VALIDATION)
    test.save(folder / TEST)
    card = TrainingCard(
        name=facts.name,
        onnx=file,
        backbone=facts.backbone,
        weights=facts.weights,
        input_shape=facts.input_shape,
        head_width=facts.head_width,
        data=facts.data,
        classes=facts.classes,
        examples=facts.examples,
        recipe=facts.recipe,
        course=facts.course,
        trained_on=facts.trained_on,
        took_s=facts.took_s,
        weights_sha256=weights_sha256(model),
        macs=imported.macs - sum(one.macs for one in imported.exits),
        accuracy=validation.accuracy[-1],
        accuracy_test=test.accuracy[-1],
        exits=tuple(_figures(imported, place, model, validation, test) for place in range(len(model.taps))),
    )
    write_card(folder, card)
    return card


def to_onnx(model: MultiExit, made: TorchModel) -> onnx.ModelProto:
    """The graph with its exits declared, none calibrated, and with what is needed to hand it pictures."""
    # Without what the exporter notes down of its own source code, which is a fifth of a small file.
    graph = tidy(export(TorchModel(_AnswerFirst(model), made.example)))
    _name_as_people_do(graph.graph, [tap.exit for tap in model.taps])
    outputs = [value.name for value in graph.graph.output]
    write_declared(graph, declare({tap.exit: UNCALIBRATED for tap in model.taps}, outputs))
    write_notes(graph, made.picture, made.labels)
    return graph


def _name_as_people_do(graph: onnx.GraphProto, exits: Sequence[str]) -> None:
    """Weights of the backbone by its own names, those of a head by its exit's: blocks are labelled after them."""
    given = [(f"model.heads.{place}.", f"{name}.") for place, name in enumerate(exits)]
    given.append(("model.backbone.", ""))
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    renamed: dict[str, str] = {}
    for tensor in graph.initializer:
        for long, short in given:
            better = short + tensor.name.removeprefix(long)
            if tensor.name.startswith(long) and better not in taken:
                renamed[tensor.name] = better
                tensor.name = better
                taken.add(better)
                break
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]


class _AnswerFirst(nn.Module):
    """In the order that files have: the model's own answer, then the exits'."""

    def __init__(self, model: MultiExit) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        *exits, final = self.model(inputs)
        return (final, *exits)


def _figures(imported: ModelCard, place: int, model: MultiExit, validation: Measured, test: Measured) -> ExitFigures:
    one = imported.exits[place]
    done = sum(block.macs for block in imported.blocks[: one.block + 1])
    return ExitFigures(
        name=one.name,
        block=one.block,
        reads=model.taps[place].submodule,
        macs_before=done - sum(head.macs for head in imported.exits[: place + 1]),
        macs_head=one.macs,
        accuracy=validation.accuracy[place],
        accuracy_test=test.accuracy[place],
        threshold=UNCALIBRATED,
        probability=0.0,
        probability_test=0.0,
    )
