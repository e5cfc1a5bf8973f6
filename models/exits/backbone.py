"""The network that gets exits: where it comes from, and a last layer for the classes of the data."""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import nn

from models.catalog import LITE, PACKAGED, TORCHVISION, Source, SourceError, UnknownModelError, Weights, resolve
from models.exits.multi_exit import first_tensor
from models.torch_source import TorchModel, build

SMALL: Final = "small-resnet"
"""The name of the packaged small network for pictures of 32 x 32."""
_FORMS: Final = "or FILE.py:factory or package.module:factory that returns a torch.nn.Module"


class WrongClassesError(ValueError):
    """A network that answers other classes than the data has; says what to do."""


def load_backbone(
    source: str, *, weights: Weights, seed: int, input_shape: tuple[int, ...] | None = None
) -> TorchModel:
    """A network by name (see `models.catalog`), `package.module:factory`, `FILE.py:factory`, or `small-resnet`.

    Raises:
        models.catalog.UnknownModelError, models.catalog.SourceError: no such network, it cannot be had, it comes as
            `.onnx` (which cannot be trained), it has more than one input, or it fails on the input that it is said to
            take.
    """
    if source == SMALL:
        source = "models.exits.small_resnet:small_resnet"
    origin = _resolved(source)
    if origin.kind == "onnx":
        raise SourceError(f"{source}: an .onnx file cannot be trained; give the PyTorch network that it was made from")
    made = build(origin, weights=weights, seed=seed, input_shape=input_shape)
    if len(made.example) != 1 or made.example[0].dtype != torch.float32:
        raise SourceError(f"{source} must take one float32 input to be given exits")
    if made.exits:
        raise SourceError(f"{source} has exits already: import it with 'stageline import', or give its backbone")
    try:
        with torch.no_grad():
            made.module(made.example[0])
    except Exception as error:
        # Whatever the user's own code raises; the traceback stays attached.
        shape = "x".join(map(str, made.example[0].shape))
        why = str(error).strip().partition("\n")[0][:300]
        raise SourceError(f"{source} cannot be run on an input of {shape} ({why}); give its --input-shape") from error
    return made


def with_classes(
    made: TorchModel, classes: Sequence[str], labels: Sequence[str], *, frozen: bool, seed: int
) -> tuple[TorchModel, tuple[int, ...], str]:
    """The network as it is trained, and which of its outputs each class of the data is.

    Args:
        made: as loaded.
        classes: of the data.
        labels: of the network's outputs; may be none.
        frozen: whether the backbone must stay as it is.
        seed: of a new last layer's initial values.

    Returns:
        The network, one output number per class, and a remark for people (may be empty).

    Raises:
        WrongClassesError: a frozen network that does not know the classes, or a last layer that cannot be replaced.
    """
    with torch.no_grad():
        outputs = int(first_tensor(made.module(made.example[0])).shape[1])
    if set(classes) <= set(labels) and len(labels) == outputs and tuple(classes) != tuple(labels):
        return made, tuple(labels.index(name) for name in classes), "classes are found among the network's by name"
    if len(classes) == outputs:
        # What is trained on the data means the data's classes, whatever its outputs were called before.
        named = tuple(labels) if frozen and labels else tuple(classes)
        return dataclasses.replace(made, labels=named), tuple(range(outputs)), ""
    if frozen:
        raise WrongClassesError(
            f"the network answers {outputs} classes and the data has {len(classes)} others: heads alone cannot be "
            "trained from it; name the data's classes as the network does, or train all of it (without --heads-only)"
        )
    module = copy.deepcopy(made.module)
    _replace_last(module, outputs, len(classes), seed)
    changed = dataclasses.replace(made, module=module, labels=tuple(classes))
    return changed, tuple(range(len(classes))), f"its last layer is new: {len(classes)} classes instead of {outputs}"


def _resolved(source: str) -> Source:
    try:
        return resolve(_as_module(source))
    except UnknownModelError as error:
        known = (SMALL, *(name for name in error.known if name not in PACKAGED))
        raise UnknownModelError(source, known, there=(SMALL, *TORCHVISION, LITE), forms=_FORMS) from None


def _as_module(source: str) -> str:
    path, _, attribute = source.rpartition(":")
    if not path.endswith(".py"):
        return source
    file = Path(path)
    if not file.is_file():
        raise SourceError(f"there is no file {path}; give FILE.py:factory")
    sys.path.insert(0, str(file.parent.resolve()))
    return f"{file.stem}:{attribute}"


def _replace_last(module: nn.Module, outputs: int, classes: int, seed: int) -> None:
    fitting = [
        (path, layer)
        for path, layer in module.named_modules()
        if (isinstance(layer, nn.Linear) and layer.out_features == outputs)
        or (isinstance(layer, nn.Conv2d) and layer.out_channels == outputs and layer.kernel_size == (1, 1))
    ]
    if not fitting:
        raise WrongClassesError(
            f"no last layer with {outputs} outputs was found to be replaced by one for {classes} classes; give a "
            "network that answers these classes"
        )
    path, last = fitting[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(last, nn.Linear):
            new: nn.Module = nn.Linear(last.in_features, classes, bias=last.bias is not None)
        else:
            # A classifier's last convolution sees each cell by itself.
            new = nn.Conv2d(last.in_channels, classes, 1, bias=last.bias is not None)
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, new)
