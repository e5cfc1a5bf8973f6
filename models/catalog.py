"""Where models come from: the named ones, any other torchvision classifier, a factory of yours, an `.onnx` file.

Nothing here imports PyTorch unless it is asked for a name that only torchvision can know.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Kind = Literal["torchvision", "efficientnet-lite", "factory", "onnx"]
Weights = Literal["default", "random"]

TORCHVISION: Final = ("mobilenet_v2", "resnet18", "squeezenet1_1", "inception_v3", "alexnet", "vgg16")
LITE: Final = "efficientnet-lite0"
PACKAGED: Final = {"cifar10-exits": Path(__file__).parent / "exits" / "shipped" / "cifar10-exits.onnx"}
"""Files that come with Stageline, by name: a small network for CIFAR-10 with early exits."""

_FACTORY: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

_FORMS: Final = "'package.module:factory' that returns a torch.nn.Module; or a path that ends in .onnx"


class UnknownModelError(LookupError):
    """No such model; lists near names and every form a source may have.

    Args:
        source: what was asked for.
        known: every name that would do.
        there: those of them that are listed; `names()` unless given.
        forms: what else would do.
    """

    def __init__(
        self, source: str, known: tuple[str, ...], *, there: tuple[str, ...] | None = None, forms: str = _FORMS
    ) -> None:
        self.known = known
        near = difflib.get_close_matches(source, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        listed = ", ".join(there if there is not None else names())
        super().__init__(
            f"no model {source!r}: {hint}There are {listed}; any other torchvision classifier, where torchvision is "
            f"installed; {forms}"
        )


class SourceError(ValueError):
    """A model that could not be built or exported; says what to try instead."""


@dataclass(frozen=True)
class Source:
    """A model that can be imported: `kind` says how, `text` is what the user wrote."""

    kind: Kind
    text: str

    @property
    def default_name(self) -> str:
        """A legal model name made from the source: one topic level, safe in a file name."""
        stem = Path(self.text).stem if self.kind == "onnx" else self.text.rpartition(":")[2]
        legal = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).lstrip("_-")[:64]
        return legal or "model"


def names() -> tuple[str, ...]:
    """Models known by name without asking torchvision."""
    return (*TORCHVISION, LITE, *PACKAGED)


def resolve(source: str) -> Source:
    """What `source` stands for.

    Raises:
        UnknownModelError: none of the named models, no torchvision classifier, no factory, no `.onnx` file.
    """
    if source == LITE:
        return Source("efficientnet-lite", source)
    if source in PACKAGED:
        return Source("onnx", str(PACKAGED[source]))
    if source in TORCHVISION:
        return Source("torchvision", source)
    if source.lower().endswith(".onnx"):
        return Source("onnx", source)
    if _FACTORY.fullmatch(source):
        return Source("factory", source)
    others = _torchvision_names()
    if source in others:
        return Source("torchvision", source)
    raise UnknownModelError(source, tuple(sorted({*names(), *others})))


def _torchvision_names() -> tuple[str, ...]:
    """Every classifier torchvision has; empty where it is not installed."""
    try:
        from models.torchvision_import import torchvision  # noqa: PLC0415 - seconds and 200 MB, only when needed
    except ImportError:
        return ()
    found: list[str] = torchvision.models.list_models(module=torchvision.models)
    return tuple(found)
