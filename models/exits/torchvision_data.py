"""Data sets of torchvision by name: their training part to learn from, their test part held out."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from models.exits.examples import BadDataError, Examples, Rows, checked_labels
from models.pictures import picture_tensor
from models.torchvision_import import torchvision
from schemas.model import Preprocess

_SOME: Final = ("CIFAR10", "CIFAR100", "MNIST", "STL10", "Flowers102")


class TorchvisionData:
    """Pictures of one or several torchvision data sets, one after the other.

    Args:
        parts: each gives (picture, label) by number.
        labels: of all.
        classes: their names.
        held_out: those set apart for testing.
        size: shorter side after scaling, and side of the crop.
    """

    def __init__(
        self, parts: list[Any], labels: Rows, classes: tuple[str, ...], held_out: Rows, size: tuple[int, int]
    ) -> None:
        self._parts = parts
        self._preprocess = Preprocess(resize=size[0], crop=size[1])
        self.labels, self.classes, self.held_out = labels, classes, held_out

    def batch(self, rows: Rows) -> Examples:
        """uint8 [n, crop, crop, 3]."""
        return np.concatenate([picture_tensor(self._picture(int(row)), self._preprocess) for row in rows])

    def _picture(self, row: int) -> Image.Image:
        for part in self._parts:
            if row < len(part):
                picture: Image.Image = part[row][0]
                return picture
            row -= len(part)
        raise IndexError(row)


def read_torchvision(name: str, folder: Path, size: tuple[int, int], *, download: bool) -> TorchvisionData:
    """A classification data set of `torchvision.datasets`, such as CIFAR10, Flowers102 or STL10.

    Args:
        name: of its class.
        folder: where its files are, or will be with `download`.
        size: shorter side after scaling, and side of the crop.
        download: fetch it where it is missing.

    Raises:
        BadDataError: no such data set, not there, or none with one label for each picture.
    """
    kind: Any = getattr(torchvision.datasets, name, None)
    known = inspect.signature(kind).parameters if inspect.isclass(kind) else {}
    if "root" not in known:
        some = [one for one in _SOME if hasattr(torchvision.datasets, one)]
        raise BadDataError(f"torchvision has no data set {name!r}; it has {', '.join(some)} and more")
    if "train" in known:
        options: tuple[dict[str, Any], ...] = ({"train": True}, {"train": False})
    elif "split" in known:
        options = ({"split": "train"}, {"split": "test"})
    else:
        options = ({},)
    try:
        parts = [kind(str(folder), **one, **({"download": True} if download else {})) for one in options]
    except (RuntimeError, OSError, TypeError, ValueError) as error:
        raise BadDataError(f"{name} cannot be had from {folder} ({_brief(error)}); --download fetches it") from error
    labels = [_labels(part, name) for part in parts]
    every = np.concatenate(labels)
    classes = tuple(str(one) for one in getattr(parts[0], "classes", ())) or tuple(
        map(str, range(int(every.max()) + 1))
    )
    held_out = np.arange(len(labels[0]), len(every))
    return TorchvisionData(parts, checked_labels(every, len(classes), name), classes, held_out, size)


def _labels(part: Any, name: str) -> Rows:
    found = next((getattr(part, one) for one in ("targets", "labels", "_labels") if hasattr(part, one)), None)
    if found is None:
        found = [part[row][1] for row in range(len(part))]
    try:
        return np.asarray(found).astype(np.int64).reshape(len(part))
    except (TypeError, ValueError) as error:
        raise BadDataError(f"{name} does not give one label for each picture ({_brief(error)})") from error


def _brief(error: BaseException) -> str:
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:300]
