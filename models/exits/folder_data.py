"""Folders of pictures as a data set: one sub-folder for each class; read when asked for, so any number fits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from models.exits.examples import BadDataError, Examples, Rows
from models.pictures import is_picture, load_picture
from schemas.model import Preprocess

_TRAIN: Final = "train"
_TEST: Final = ("test", "val", "valid", "validation")


class FolderData:
    """Pictures in files.

    Args:
        paths: of all pictures.
        labels: of each.
        classes: their names.
        held_out: those set apart for testing.
        size: shorter side after scaling, and side of the crop.
    """

    def __init__(
        self, paths: Sequence[Path], labels: Rows, classes: tuple[str, ...], held_out: Rows, size: tuple[int, int]
    ) -> None:
        self._paths = tuple(paths)
        self._preprocess = Preprocess(resize=size[0], crop=size[1])
        self.labels, self.classes, self.held_out = labels, classes, held_out

    def batch(self, rows: Rows) -> Examples:
        """uint8 [n, crop, crop, 3].

        Raises:
            models.pictures.UnreadablePictureError: a file that is no picture.
        """
        return np.concatenate([load_picture(self._paths[row], self._preprocess) for row in rows])


def read_folder(folder: Path, size: tuple[int, int]) -> FolderData:
    """The pictures below a folder, in the order of their names.

    `folder/class/picture.jpg`; or `folder/train/class/...` and `folder/test/class/...` (`val` will do), where the
    second kind is held out.

    Raises:
        BadDataError: no such folder, no classes in it, a class without pictures, other classes to test than to train.
    """
    if not folder.is_dir():
        raise BadDataError(f"there is no folder {folder}")
    tests = [folder / name for name in _TEST if (folder / name).is_dir()]
    if not (folder / _TRAIN).is_dir() or not tests:
        paths, labels, classes = _classes(folder)
        return FolderData(paths, labels, classes, np.array([], np.int64), size)
    paths, labels, classes = _classes(folder / _TRAIN)
    more, further, others = _classes(tests[0])
    if others != classes:
        odd = sorted(set(others) ^ set(classes))
        raise BadDataError(
            f"{tests[0]} and {folder / _TRAIN} must hold the same classes; only one of them has {odd[0]}"
        )
    held_out = np.arange(len(paths), len(paths) + len(more))
    return FolderData([*paths, *more], np.concatenate([labels, further]), classes, held_out, size)


def _classes(folder: Path) -> tuple[list[Path], Rows, tuple[str, ...]]:
    classes = sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    if len(classes) < 2:
        raise BadDataError(
            f"{folder} has {len(classes)} sub-folders: make one for each class, named like it, with its pictures inside"
        )
    paths: list[Path] = []
    labels: list[int] = []
    for label, one in enumerate(classes):
        pictures = sorted(path for path in one.rglob("*") if path.is_file() and is_picture(path))
        if not pictures:
            raise BadDataError(f"{one} holds no pictures; add some, or remove the folder")
        paths += pictures
        labels += [label] * len(pictures)
    return paths, np.array(labels, np.int64), tuple(one.name for one in classes)
