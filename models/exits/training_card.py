"""The training card: what was trained, on what, how, and what each exit is worth; JSON beside the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.exits.calibration import Work
from models.exits.course import Epoch
from models.exits.recipe import Recipe
from schemas.base import Count, Fraction, Many, Message, Name, NonNegative, Sha256, Text, left_out_at

Coefficient = Annotated[float, Field(ge=-1, le=1)] | None


class ExitFigures(Message):
    """One exit: where it is, what it costs, and how well it answers."""

    name: Name
    block: Count
    """Of the imported model: the exit is evaluated once this block is done."""
    reads: Text
    """The submodule whose output its head reads."""
    macs_before: Count
    """Multiply-accumulates of the backbone up to there."""
    macs_head: Count
    accuracy: Fraction
    """Of all validation examples, were they all answered here."""
    accuracy_test: Fraction
    threshold: Fraction
    probability: Fraction
    """Of all validation examples, those that leave here with the thresholds of this card."""
    probability_test: Fraction


class Point(Message):
    """Thresholds and what they lead to on the validation data."""

    thresholds: Many[Fraction]
    shares: Many[Fraction]
    accuracy: Fraction
    macs: NonNegative
    """Expected multiply-accumulates of a request."""


class Examples(Message):
    """How many examples there were for what."""

    train: Count
    validation: Count
    test: Count


class TrainingCard(Message):
    """All of it. Thresholds are chosen on validation data; test data was used for nothing but the `_test` figures."""

    format: Literal[1] = 1
    name: Name
    onnx: Text
    """File beside this card."""
    backbone: Text
    weights: Text
    """What the backbone began with."""
    input_shape: Annotated[Many[Count], left_out_at(())] = ()
    """Of the backbone, where somebody had to say it."""
    head_width: Annotated[Count | None, left_out_at(None)] = None
    """Channels of the heads; none in cards from before it was kept."""
    data: Text
    classes: Many[Annotated[str, Field(max_length=256)]]
    examples: Examples
    recipe: Recipe
    course: Many[Epoch]
    trained_on: Text
    took_s: NonNegative
    weights_sha256: Sha256
    macs: Count
    """Of the whole backbone, heads not counted."""
    accuracy: Fraction
    """Of the final output alone, on validation data: what the model answers with every exit closed."""
    accuracy_test: Fraction
    exits: Annotated[Many[ExitFigures], Field(min_length=1, max_length=64)]
    accuracy_min: Fraction | None = None
    """What the thresholds were chosen for; none where somebody set them."""
    chosen: Point | None = None
    """With the thresholds of `exits`; none before they are calibrated."""
    accuracy_chosen_test: Fraction | None = None
    correlation: Many[Many[Coefficient]] = ()
    """Of the exits' verdicts M[n, j] on validation data, exits by exits; `validation.npz` holds what M is made of. None
    at an exit that nobody or everybody leaves at, as at a closed one."""
    correctness_correlation: Many[Many[Coefficient]] = ()
    """Of being right on validation data whatever the thresholds, exits by exits, the final output last."""
    points: Annotated[Many[Point], Field(max_length=256)] = ()
    """Thresholds worth having, from the cheapest to the most accurate."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if Path(self.onnx).name != self.onnx or not self.onnx.endswith(".onnx"):
            raise ValueError(f"{self.onnx!r} is no .onnx file beside the card")
        for point in (*self.points, *([self.chosen] if self.chosen else [])):
            if not len(point.thresholds) == len(point.shares) == len(self.exits):
                raise ValueError(f"a point needs one threshold and one share for each of {len(self.exits)} exits")
        exits = len(self.exits)
        for table, outputs in ((self.correlation, exits), (self.correctness_correlation, exits + 1)):
            if table and {len(table), *map(len, table)} != {outputs}:
                raise ValueError("a correlation is one number for each pair of exits, or of exits and the end")
        self.work  # noqa: B018 - raises
        return self

    @property
    def work(self) -> Work:
        """What is computed until where.

        Raises:
            ValueError: exits are not in the order in which a request meets them.
        """
        return Work((*(one.macs_before for one in self.exits), self.macs), tuple(one.macs_head for one in self.exits))
