"""What a submitter may hand in, made into the tensors that a model's card asks for, or refused in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np
from PIL import Image

from models.pictures import load_picture, picture_tensor
from schemas.codec import Array
from schemas.model import ModelCard, TensorSpec


@dataclass(frozen=True, slots=True)
class FileContent:
    """A picture, .npy or .npz file that is in memory; the name's ending tells arrays from pictures."""

    name: str
    data: bytes = field(repr=False)


Inputs = Mapping[str, Array] | Array | Image.Image | Path | str | FileContent
"""Arrays by name; one array for a model with one input; a picture; a picture, .npy or .npz file by path or content."""

LARGE_BYTES: Final = 256_000
"""From here on, copying and coding take long enough to be kept off the event loop."""


class WrongInputError(ValueError):
    """What was handed in does not fit the model; the message says what was expected and what was given."""


def is_array_file(path: Path) -> bool:
    """Whether the file's name looks like that of a saved array; nothing is opened."""
    return path.suffix.lower() in (".npy", ".npz")


def must_be_read(given: Inputs) -> bool:
    """Whether it comes from a file or must be scaled, which belongs in an executor."""
    return isinstance(given, (Image.Image, Path, str, FileContent))


def to_tensors(card: ModelCard, given: Inputs) -> dict[str, Array]:
    """The model's input tensors.

    Raises:
        WrongInputError: a picture for a model that takes none, a name, a shape or an element type that does not fit.
        models.pictures.UnreadablePictureError: not a picture.
    """
    content: bytes | None = None
    if isinstance(given, FileContent):
        content = given.data
        given = given.name
    if isinstance(given, (Path, str)) and is_array_file(Path(given)):
        given = _load_arrays(Path(given), content)
    if isinstance(given, (Image.Image, Path, str)):
        if card.preprocess is None or len(card.inputs) != 1:
            wanted = ", ".join(map(str, card.inputs))
            raise WrongInputError(f"{card.name} takes no pictures; expected {wanted}, given a picture")
        if isinstance(given, Image.Image):
            pixels = picture_tensor(given, card.preprocess)
        else:
            pixels = load_picture(Path(given), card.preprocess, content)
        return check_tensors(card, {card.inputs[0].name: pixels})
    if isinstance(given, np.ndarray):
        if len(card.inputs) != 1:
            names = ", ".join(spec.name for spec in card.inputs)
            raise WrongInputError(
                f"{card.name} has {len(card.inputs)} inputs: expected a dict with {names}, given one array"
            )
        return check_tensors(card, {card.inputs[0].name: given})
    if isinstance(given, Mapping):
        return check_tensors(card, given)
    raise WrongInputError(f"expected arrays or a picture, given {type(given).__name__}")


def check_tensors(card: ModelCard, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """The same tensors in the card's order; a missing batch axis of 1 is added.

    Raises:
        WrongInputError: they do not fit the card.
    """
    expected = {spec.name: spec for spec in card.inputs}
    if set(tensors) != set(expected):
        given = ", ".join(sorted(map(str, tensors))) or "nothing"
        raise WrongInputError(f"{card.name}: expected inputs {', '.join(expected)}; given {given}")
    return {name: _fitted(card.name, spec, np.asarray(tensors[name])) for name, spec in expected.items()}


def _load_arrays(path: Path, content: bytes | None) -> Array | dict[str, Array]:
    try:
        loaded = np.load(path if content is None else BytesIO(content), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return dict(loaded)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise WrongInputError(f"{path} cannot be read as saved arrays: {error}") from error


def _fitted(model: str, spec: TensorSpec, array: Array) -> Array:
    if array.dtype.name == spec.dtype and array.dtype.isnative:
        if array.shape == spec.shape:
            return array
        if (1, *array.shape) == spec.shape:
            return array[np.newaxis]
    given = f"{array.dtype.name}[{'x'.join(map(str, array.shape))}]"
    raise WrongInputError(f"{model}: expected {spec}, given {given}")
