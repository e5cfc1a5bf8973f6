"""Data sets in one `.npz` file: pictures as JPEG bytes one after the other, or arrays; no pickle is ever read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from models.bounded_npz import bounded_npz
from models.exits.examples import BadDataError, Examples, InMemory, Rows, checked_labels

LARGEST_BYTES: Final = 4 << 30
"""Data sets are held in memory."""
ARRAYS_MOST: Final = 16
_FORMS: Final = (
    "`jpeg` (uint8), `offsets` (int64, one more than there are pictures) and `labels`; or `inputs` (uint8 "
    "[n,height,width,3] or float32 [n,...]) and `labels`; and, if you like, `train` (bool) and `classes` (names)"
)


def read_npz(path: Path) -> InMemory:
    """The examples of a file.

    `jpeg[offsets[i]:offsets[i+1]]` is picture i; all are of one size. `train` says which are for training: the others
    are held out.

    Raises:
        BadDataError: the file is missing, holds other arrays, or they do not fit together.
    """
    try:
        with path.open("rb") as file:
            held = bounded_npz(file, most_bytes=LARGEST_BYTES, most_arrays=ARRAYS_MOST)
    except (OSError, ValueError) as error:
        raise BadDataError(f"{path} cannot be read as saved arrays ({error}); it should hold {_FORMS}") from error
    if "labels" not in held or not ("inputs" in held or {"jpeg", "offsets"} <= held.keys()):
        raise BadDataError(f"{path} holds {', '.join(sorted(held)) or 'nothing'}; it should hold {_FORMS}")
    inputs = _inputs(path, held["inputs"]) if "inputs" in held else _pictures(path, held["jpeg"], held["offsets"])
    if len(inputs) != len(held["labels"]):
        raise BadDataError(f"{path}: {len(inputs)} examples and {len(held['labels'])} labels")
    classes = _classes(held)
    return InMemory(inputs, checked_labels(held["labels"], len(classes), str(path)), classes, _held_out(path, held))


def _inputs(path: Path, inputs: Any) -> Examples:
    pictures = inputs.dtype == np.uint8 and inputs.ndim == 4 and inputs.shape[3] == 3
    if not pictures and (inputs.dtype != np.float32 or inputs.ndim < 2):
        raise BadDataError(f"{path}: `inputs` is {inputs.dtype}{list(inputs.shape)}; it should hold {_FORMS}")
    found: Examples = inputs
    return found


def _pictures(path: Path, jpeg: Any, offsets: Any) -> Examples:
    places = np.asarray(offsets)
    fits = places.ndim == 1 and len(places) > 1 and places.dtype.kind in "iu" and jpeg.dtype == np.uint8
    if not fits or jpeg.ndim != 1 or (np.diff(places.astype(np.int64)) < 0).any() or places[-1] > len(jpeg):
        raise BadDataError(f"{path}: `offsets` do not lie within `jpeg`; it should hold {_FORMS}")
    first = _decode(path, jpeg, places, 0)
    pictures = np.empty((len(places) - 1, *first.shape), np.uint8)
    for number in range(len(pictures)):
        one = _decode(path, jpeg, places, number)
        if one.shape != first.shape:
            raise BadDataError(f"{path}: picture {number} is {one.shape[1]} x {one.shape[0]}, unlike the first")
        pictures[number] = one
    return pictures


def _decode(path: Path, jpeg: Any, places: Any, number: int) -> Examples:
    try:
        with Image.open(io.BytesIO(jpeg[int(places[number]) : int(places[number + 1])].tobytes())) as opened:
            return np.asarray(opened.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise BadDataError(f"{path}: picture {number} cannot be read: {error}") from error


def _classes(held: dict[str, Any]) -> tuple[str, ...]:
    if "classes" in held:
        return tuple(str(name) for name in held["classes"])
    labels = np.asarray(held["labels"])
    return tuple(map(str, range(int(labels.max()) + 1))) if labels.dtype.kind in "iu" and labels.size else ()


def _held_out(path: Path, held: dict[str, Any]) -> Rows:
    if "train" not in held:
        return np.array([], np.int64)
    train = held["train"]
    if train.dtype != np.bool_ or train.shape != held["labels"].shape:
        raise BadDataError(f"{path}: `train` is one bool for each label; it is {train.dtype}{list(train.shape)}")
    return np.flatnonzero(~train)
