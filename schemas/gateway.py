"""What became of a request that was handed over to a gateway's journal: its one answer, or why there is none."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.base import Count, Fraction, Message, Name, NonNegative, Text, left_out_at
from schemas.frame_header import StageTrace
from schemas.tensors import Dtype


class Guessed(Message):
    """One class and how probable it is."""

    label: Text
    probability: Fraction


class OutputTensor(Message):
    """One of the model's outputs."""

    name: Text
    dtype: Dtype
    shape: Annotated[tuple[Count, ...], Field(max_length=8)]
    data: Annotated[str, Field(max_length=2_000_000)] = ""
    """Base64 of its bytes, little-endian, row by row; empty where they lie in a file beside, or are too many."""


class Delivered(Message):
    """One journalled request's outcome; nobody is shown two of them."""

    request: Name
    deployment: Name
    name: Text
    """Of the file that was handed over."""
    state: Literal["answered", "failed"]
    handed_over: NonNegative
    """Unix time."""
    resolved: NonNegative
    """Unix time."""
    reason: Text = ""
    """Where it failed: a word to act on, as errors of requests have it."""
    detail: Text = ""
    top: Annotated[tuple[Guessed, ...], Field(max_length=16)] = ()
    """The most probable classes, best first, of a model that names classes."""
    outputs: Annotated[tuple[OutputTensor, ...], Field(max_length=64)] = ()
    generation: Count = 0
    route: Text = ""
    exit: Annotated[Text, left_out_at("")] = ""
    """That it left by; empty where it went all the way."""
    latency_ms: NonNegative = 0.0
    stages: Annotated[tuple[StageTrace, ...], Field(max_length=64)] = ()

    @model_validator(mode="after")
    def _failed_for_a_reason(self) -> Self:
        if (self.state == "failed") != bool(self.reason):
            raise ValueError("a request that failed has a reason, and no other has")
        return self
