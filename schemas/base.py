"""What every message has in common: immutable, strict, and nothing unknown gets in."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
_NAME = re.compile(NAME_PATTERN)

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""A device, model, deployment or submitter: one MQTT topic level, safe in a file name too."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
BootId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, le=1e18, allow_inf_nan=False)]
"""Bounded far above anything real: whatever is claimed, sums and products of it stay finite."""
Milliseconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Watts = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Mbps = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Cores = Annotated[float, Field(ge=1e-3, le=4096, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=0, le=2**46)]
"""Sizes of things that are computed with: bounded well above any real machine, so that sums and products stay sane."""
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=4096)]

T = TypeVar("T")
Many = Annotated[tuple[T, ...], FailFast()]
"""Any number of something, read up to the first that is wrong: each mistake would cost memory of its own."""

_MOST_TOLD: Final = 300
_MOST_LISTED: Final = 100


def left_out_at(usual: object) -> Any:
    """For a field that a message got later: nothing is written of it where it holds `usual`, its default.

    Messages forbid what they do not know. So programs from before the field read every message that does not use it,
    and what is known by its hash (a card) keeps that.
    """
    return Field(exclude_if=lambda value: value == usual)


class InvalidNameError(ValueError):
    """A name that cannot be a topic level; the message says which characters may be used."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(
            f"{name!r} cannot name a {kind}: use 1 to 64 letters, digits, '-' or '_', "
            "starting with a letter or digit (it becomes part of an MQTT topic)"
        )


def check_name(kind: str, name: str) -> str:
    """Return `name` when it may name a `kind` ("device", "model", ...).

    Raises:
        InvalidNameError: the name is empty, too long or has an illegal character.
    """
    if not _NAME.fullmatch(name):
        raise InvalidNameError(kind, name)
    return name


def brief(text: str) -> str:
    """What is told of a mistake in a message that somebody else may have made long."""
    return text if len(text) <= _MOST_TOLD else f"{text[: _MOST_TOLD - 3]}..."


def first_mistake(error: ValidationError) -> str:
    """Where a message is wrong, and how; of one that is wrong all over, only that it is."""
    if error.error_count() > _MOST_LISTED:
        return f"{error.error_count()} mistakes in {error.title}"
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"])) or error.title
    return brief(f"{where}: {first['msg']}")


class Message(BaseModel):
    """Base of every payload: frozen, strict, `extra="forbid"`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)
