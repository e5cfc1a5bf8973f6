"""What every message has in common: immutable, strict, and nothing unknown gets in."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
_NAME = re.compile(NAME_PATTERN)

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""A device, model, deployment or submitter: one MQTT topic level, safe in a file name too."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
BootId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Milliseconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Watts = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Mbps = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Cores = Annotated[float, Field(ge=1e-3, le=4096, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=0, le=2**46)]
"""Sizes of things that are computed with: bounded well above any real machine, so that sums and products stay sane."""
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=4096)]


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


class Message(BaseModel):
    """Base of every payload: frozen, strict, `extra="forbid"`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)
