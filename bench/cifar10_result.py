"""The second step of `python -m bench.cifar10`: from weights and figures to ONNX, card and thresholds."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console

from bench.cifar10 import FIGURES, WEIGHTS, network
from models.exits.calibrated import Target, calibrate
from models.exits.card_files import TEST, VALIDATION
from models.exits.course import Epoch
from models.exits.examples import BadDataError
from models.exits.measured import Measured
from models.exits.recipe import Recipe
from models.exits.small_resnet import CIFAR10_CLASSES, CIFAR10_PICTURE
from models.exits.trained import Facts, write_trained
from models.exits.training_card import Examples, TrainingCard
from models.exits.weights_file import load_weights
from models.torch_source import TorchModel

NAME: Final = "cifar10-exits"
LOSS: Final = 0.01
"""Thresholds are chosen for at most so much less accuracy than with every exit closed."""


def write_onnx(folder: Path, console: Console) -> None:
    """ONNX file and card into the folder that the first step wrote.

    Raises:
        BadDataError: it did not write there.
        models.exits.weights_file.BadWeightsError, models.exits.measured.BadMeasurementError: damaged files.
    """
    try:
        figures: dict[str, Any] = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadDataError(f"{folder / FIGURES} cannot be read ({error}); train first, with --data") from error
    recipe = Recipe(**{**figures["recipe"], "loss_weights": tuple(figures["recipe"]["loss_weights"])})
    model = network(recipe.seed)
    load_weights(model, folder / WEIGHTS)
    model.eval()
    made = TorchModel(model.backbone, (torch.zeros(1, 3, 32, 32),), CIFAR10_PICTURE, CIFAR10_CLASSES)
    facts = Facts(
        name=NAME,
        backbone="small-resnet",
        weights="random",
        data=str(figures["data"]),
        classes=tuple(figures["classes"]),
        examples=Examples(**figures["examples"]),
        recipe=recipe,
        course=tuple(Epoch(one["loss"], tuple(one["accuracy"])) for one in figures["course"]),
        trained_on=str(figures["trained_on"]),
        took_s=float(figures["took_s"]),
    )
    validation, test = Measured.load(folder / VALIDATION), Measured.load(folder / TEST)
    write_trained(folder, model, made, facts, validation, test)
    card = calibrate(folder, Target(drop=LOSS))
    size = (folder / card.onnx).stat().st_size
    console.print(f"{folder / card.onnx}: {size / 1e6:.2f} MB; what each exit is worth is in {folder / 'card.md'}")
    console.print(f"trained by: {command(card)}", markup=False, soft_wrap=True)


def command(card: TrainingCard) -> str:
    """What trains the same weights again, from what the card of a network of this script says. Pure."""
    recipe = card.recipe
    return shlex.join(
        [
            *("python", "-m", "bench.cifar10", "--data", card.data, "--epochs", str(recipe.epochs)),
            *("--batch", str(recipe.batch), "--learning-rate", f"{recipe.learning_rate:g}", "--seed", str(recipe.seed)),
            *("--device", card.trained_on.partition(",")[0]),
        ]
    )
