"""How an `.onnx` file says that it classifies pictures: JSON in its metadata, so that it imports like a named model.

`stageline.picture` holds `{"resize": 256, "crop": 224, "mean": [...], "std": [...]}`: the file's input is then the
normalised picture float32 [1,3,crop,crop]. `stageline.labels` holds the names of the classes. Files come from anybody:
whatever is not exactly this is refused before it is used.
"""

from __future__ import annotations

from typing import Annotated, Final

import onnx
from pydantic import Field, TypeAdapter, ValidationError

from models.normalise import PictureInput
from schemas.base import Finite, Many, Message, first_mistake

PICTURE_KEY: Final = "stageline.picture"
LABELS_KEY: Final = "stageline.labels"

_MOST_CHARACTERS: Final = 4 << 20


class BadNotesError(ValueError):
    """Metadata of a file that is not what it should be; says which and what to do."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"{key} in the file's metadata cannot be used ({why}); write it as models/classifier_notes.py "
                         "says, or leave it out")  # fmt: skip


class _Picture(Message):
    resize: Annotated[int, Field(ge=1, le=8192)]
    crop: Annotated[int, Field(ge=1, le=8192)]
    mean: Annotated[Many[Finite], Field(min_length=3, max_length=3)]
    std: Annotated[Many[Annotated[float, Field(ge=1e-6, le=1e6)]], Field(min_length=3, max_length=3)]


_LABELS: Final = TypeAdapter(Annotated[Many[Annotated[str, Field(max_length=256)]], Field(max_length=1 << 17)])


def read_notes(model: onnx.ModelProto) -> tuple[PictureInput | None, tuple[str, ...]]:
    """How pictures become the input, and the names of the classes; None and no names where the file says nothing.

    Raises:
        BadNotesError: see there.
    """
    texts = {entry.key: entry.value for entry in model.metadata_props if entry.key in (PICTURE_KEY, LABELS_KEY)}
    for key, text in texts.items():
        if len(text) > _MOST_CHARACTERS:
            raise BadNotesError(key, f"{len(text)} characters are too many")
    picture: PictureInput | None = None
    labels: tuple[str, ...] = ()
    try:
        key = PICTURE_KEY
        if key in texts:
            said = _Picture.model_validate_json(texts[key])
            _check_size(model, said.crop)
            picture = PictureInput(resize=said.resize, crop=said.crop, mean=said.mean, std=said.std)
        key = LABELS_KEY
        if key in texts:
            labels = _LABELS.validate_json(texts[key], strict=True)
    except ValidationError as error:
        raise BadNotesError(key, first_mistake(error)) from error
    return picture, labels


def _check_size(model: onnx.ModelProto, crop: int) -> None:
    constants = {tensor.name for tensor in model.graph.initializer}
    shapes = [
        [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in model.graph.input
        if value.name not in constants
    ]
    if shapes != [[1, 3, crop, crop]]:
        raise BadNotesError(PICTURE_KEY, f"the input is {shapes}, not one [1,3,{crop},{crop}]")


def write_notes(model: onnx.ModelProto, picture: PictureInput | None, labels: tuple[str, ...]) -> None:
    """Put both into the model's metadata, in the place of any others; in place."""
    kept = [entry for entry in model.metadata_props if entry.key not in (PICTURE_KEY, LABELS_KEY)]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    if picture is not None:
        said = _Picture(resize=picture.resize, crop=picture.crop, mean=picture.mean, std=picture.std)
        model.metadata_props.add(key=PICTURE_KEY, value=said.model_dump_json())
    if labels:
        model.metadata_props.add(key=LABELS_KEY, value=_LABELS.dump_json(labels).decode())
