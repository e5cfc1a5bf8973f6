"""What a model says of its own exits, and how an `.onnx` file says it: JSON in the file's metadata, nothing else.

`stageline.exits` holds `[{"name": "early", "output": "logits_early", "threshold": 0.8}, ...]`, in the order in which a
request meets them; `output` is an output of the graph, the one that is not named here is the model's own.
`stageline.operating_points` holds `[{"thresholds": [0.8], "shares": [0.6], "accuracy": 0.91}, ...]`, one threshold and
one share for each exit. Files come from anybody: whatever is not exactly this is refused before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Self

import onnx
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from schemas.base import Fraction, Many, Message, Name, first_mistake
from schemas.model import CLOSED, OperatingPoint, TensorName, check_points

EXITS_KEY: Final = "stageline.exits"
POINTS_KEY: Final = "stageline.operating_points"

MOST_BYTES: Final = 4 << 20
"""Of either text; 256 operating points of 64 exits each stay well below it."""


UNCALIBRATED: Final = CLOSED
"""The threshold of an exit of which nobody has said how sure its head must be: next to nothing leaves there."""


class ExitError(ValueError):
    """Exits that this model cannot have, or that are badly declared; says which and what to do."""


class DeclaredExit(Message):
    """One exit: which output of the graph its head gives, and how sure that must be."""

    name: Name
    output: TensorName
    threshold: Fraction


class Declared(Message):
    """All exits of a model in the order in which a request meets them, and what thresholds lead to."""

    exits: Annotated[Many[DeclaredExit], Field(max_length=64)] = ()
    points: Annotated[Many[OperatingPoint], Field(max_length=256)] = ()

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for what, values in (
            ("name", [one.name for one in self.exits]),
            ("output", [one.output for one in self.exits]),
        ):
            if len(set(values)) < len(values):
                raise ValueError(f"two exits have the same {what}")
        check_points(self.points, len(self.exits))
        return self


_EXITS: Final[TypeAdapter[tuple[DeclaredExit, ...]]] = TypeAdapter(Annotated[Many[DeclaredExit], Field(max_length=64)])
_POINTS: Final[TypeAdapter[tuple[OperatingPoint, ...]]] = TypeAdapter(
    Annotated[Many[OperatingPoint], Field(max_length=256)]
)


def declare(thresholds: Mapping[str, float], outputs: Sequence[str]) -> Declared:
    """The declaration of a model whose first output is its own answer and whose others are its exits'.

    Args:
        thresholds: by exit, in the order of the outputs after the first.
        outputs: names of all outputs of the graph.

    Raises:
        ExitError: not one exit for each output after the first, a bad name, or a threshold outside 0 to 1.
    """
    if len(outputs) != 1 + len(thresholds):
        raise ExitError(
            f"the model names {len(thresholds)} exits and gives {len(outputs)} outputs: it must give its own answer "
            "first, then one output for each exit"
        )
    try:
        return Declared(
            exits=tuple(
                DeclaredExit(name=name, output=output, threshold=threshold)
                for (name, threshold), output in zip(thresholds.items(), outputs[1:], strict=True)
            )
        )
    except ValidationError as error:
        raise ExitError(f"exits {', '.join(map(str, thresholds))}: {first_mistake(error)}"[:500]) from error


def read_declared(model: onnx.ModelProto) -> Declared:
    """The exits that a model's metadata declares; none where it says nothing of them. Pure.

    Raises:
        ExitError: the metadata is malformed, too long, or contradicts itself.
    """
    texts = _texts(model)
    try:
        return Declared(
            exits=_EXITS.validate_json(texts.get(EXITS_KEY, "[]")),
            points=_POINTS.validate_json(texts.get(POINTS_KEY, "[]")),
        )
    except ValidationError as error:
        raise ExitError(
            f"the exits that the model's metadata declares cannot be read ({first_mistake(error)}); "
            f"write {EXITS_KEY} as models/exits/declared.py says, or leave it out"
        ) from error


def write_declared(model: onnx.ModelProto, declared: Declared) -> None:
    """Put the declaration into a model's metadata, in the place of any other; in place."""
    kept = [entry for entry in model.metadata_props if entry.key not in (EXITS_KEY, POINTS_KEY)]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    if not declared.exits:
        return
    model.metadata_props.add(key=EXITS_KEY, value=_EXITS.dump_json(declared.exits).decode())
    if declared.points:
        model.metadata_props.add(key=POINTS_KEY, value=_POINTS.dump_json(declared.points).decode())


def _texts(model: onnx.ModelProto) -> dict[str, str]:
    texts: dict[str, str] = {}
    for entry in model.metadata_props:
        if entry.key not in (EXITS_KEY, POINTS_KEY):
            continue
        if entry.key in texts:
            raise ExitError(f"the model's metadata has {entry.key} twice; keep one")
        if len(entry.value) > MOST_BYTES:
            raise ExitError(f"{entry.key} in the model's metadata has {len(entry.value)} characters: too many")
        texts[entry.key] = entry.value
    return texts
