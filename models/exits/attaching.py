"""From a network and a data set to a folder with the same network, its exits trained and calibrated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from models.catalog import Weights
from models.durable import write_file
from models.exits.backbone import load_backbone, with_classes
from models.exits.calibrated import USUAL_LOSS, Target, calibrate
from models.exits.choosing import choose_places
from models.exits.cut_places import find_places
from models.exits.data_sources import open_data
from models.exits.examples import Dataset, Renumbered, split
from models.exits.heads import HEAD_WIDTH
from models.exits.multi_exit import MultiExit, Tap
from models.exits.recipe import BadRecipeError, Recipe
from models.exits.trained import Facts, write_trained
from models.exits.training import Progress, measure, train
from models.exits.training_card import Examples, TrainingCard
from models.torch_source import TorchModel
from schemas.base import check_name

WRITING: Final = "writing it"
"""What progress says from when the folder changes."""
_ENOUGH: Final = 300
"""Validation examples; with these a share is known to about three hundredths."""


@dataclass(frozen=True)
class Wish:
    """What somebody asks for; how it is trained is the recipe's matter.

    Attributes:
        source: see `models.exits.backbone.load_backbone`.
        data: see `models.exits.data_sources.open_data`.
        at: see `models.exits.choosing.choose_places`.
        name: of the new model; made from `source` when not given.
        weights: what the backbone begins with.
        input_shape: for a factory that does not say it.
        head_width: channels of the heads.
        device: `cpu` or `cuda`.
        download: torchvision may fetch the data.
        accuracy_min: thresholds are chosen for it; else for 0.01 less than with every exit closed.
    """

    source: str
    data: str
    at: str = "auto"
    name: str | None = None
    weights: Weights = "default"
    input_shape: tuple[int, ...] | None = None
    head_width: int = HEAD_WIDTH
    device: str = "cpu"
    download: bool = False
    accuracy_min: float | None = None


def train_exits(
    folder: Path, wish: Wish, recipe: Recipe, progress: Progress | None = None
) -> tuple[TrainingCard, tuple[str, ...]]:
    """Train, calibrate, and write everything into `folder`, in the place of what another training left there.

    Before progress says `WRITING` nothing in it changes; a folder that was made for this is removed if nothing comes.

    Returns:
        The training card, and remarks for people.

    Raises:
        models.catalog.UnknownModelError, models.catalog.SourceError: no such network, or it cannot be had.
        models.exits.examples.BadDataError, models.pictures.UnreadablePictureError: data that cannot be used.
        models.exits.backbone.WrongClassesError: a frozen network that does not know the data's classes.
        models.exits.choosing.BadPlacesError: an exit where none can stand.
        models.exits.recipe.BadRecipeError: loss weights or a shift that do not fit, or a device that is not there.
        models.exits.training.DivergedError: the learning rate is too large.
        models.exits.calibration.UnreachableAccuracyError: `accuracy_min` is; everything else has been written.
        schemas.base.InvalidNameError: `name` cannot be a model's.
        OSError: the folder cannot be written.
    """
    say = progress or (lambda _what, _share: None)
    name = check_name("model", wish.name if wish.name is not None else default_name(wish.source))
    _check_device(wish.device)
    with _folder(folder):
        return _into(folder, name, wish, recipe, say)


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # Now, not after hours of training.
        write_file(folder / ".writable", b"")
        (folder / ".writable").unlink()
        yield
    finally:
        if made and not any(folder.iterdir()):
            folder.rmdir()


def _into(folder: Path, name: str, wish: Wish, recipe: Recipe, say: Progress) -> tuple[TrainingCard, tuple[str, ...]]:
    say(f"loading {wish.source}", 0.0)
    made = load_backbone(wish.source, weights=wish.weights, seed=recipe.seed, input_shape=wish.input_shape)
    recipe.check_pictures(min(made.example[0].shape[2:]) if made.picture is not None else None)
    say(f"looking at {wish.data}", 0.0)
    data = open_data(wish.data, made, download=wish.download)
    parts = split(data, recipe.seed)
    made, numbers, remark = with_classes(made, data.classes, made.labels, frozen=recipe.frozen, seed=recipe.seed)
    data = _numbered(data, numbers, made)
    say("looking for places for exits", 0.0)
    model, where = _attach(made, wish, recipe)
    began = time.monotonic()
    course = train(model, data, parts.train, recipe, picture=made.picture, device=wish.device, progress=say)
    took_s = time.monotonic() - began
    say("measuring every exit", 1.0)
    validation = measure(model, data, parts.validation, picture=made.picture, device=wish.device)
    test = measure(model, data, parts.test, picture=made.picture, device=wish.device)
    say(WRITING, 1.0)
    facts = Facts(
        name=name, backbone=wish.source, weights=wish.weights, data=wish.data, classes=data.classes,
        examples=Examples(train=len(parts.train), validation=len(parts.validation), test=len(parts.test)),
        recipe=recipe, course=tuple(course), trained_on=f"{wish.device}, torch {torch.__version__}", took_s=took_s,
        input_shape=wish.input_shape or (), head_width=wish.head_width,
    )  # fmt: skip
    write_trained(folder, model, made, facts, validation, test)
    target = Target(drop=USUAL_LOSS) if wish.accuracy_min is None else Target(accuracy_min=wish.accuracy_min)
    few = f"only {len(parts.validation)} validation examples: figures and thresholds are rough"
    remarks = (remark, where, few if len(parts.validation) < _ENOUGH else "")
    return calibrate(folder, target), tuple(one for one in remarks if one)


def default_name(source: str) -> str:
    """A legal name for the model with exits that is made from this source."""
    stem = source.rpartition(":")[2]
    legal = "".join(one if (one.isalnum() and one.isascii()) or one == "-" else "_" for one in stem).strip("_-")[:50]
    return f"{legal or 'model'}-exits"


def _attach(made: TorchModel, wish: Wish, recipe: Recipe) -> tuple[MultiExit, str]:
    found = find_places(made, recipe.seed)
    chosen = [found.places[position] for position in choose_places(wish.at, found.places, found.macs)]
    recipe.weights_for(len(chosen) + 1)
    taps = [Tap(f"exit{number}", one.submodule) for number, one in enumerate(chosen, 1)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = MultiExit(made.module, taps, made.example[0], wish.head_width)
    places = ", ".join(f"{one.block} ({one.share:.0%} of the work)" for one in chosen)
    return model, f"{len(chosen)} exits, after blocks {places}"


def _numbered(data: Dataset, numbers: tuple[int, ...], made: TorchModel) -> Dataset:
    if numbers == tuple(range(len(data.classes))):
        return data
    return Renumbered(data, numbers, made.labels)


def _check_device(device: str) -> None:
    if device not in ("cpu", "cuda"):
        raise BadRecipeError(f"device {device}: cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise BadRecipeError("there is no CUDA device here that PyTorch can use; leave out --device, or use cpu")
