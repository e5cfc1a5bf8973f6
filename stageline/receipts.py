"""What came back for one request: its answer, with the receipt of where it was made and at what price, or its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from schemas.base import Count, Message, Name, NonNegative, Text
from schemas.codec import Array
from schemas.frame_header import StageTrace

if TYPE_CHECKING:
    from rich.table import Table

EnergyMethod = Literal["measured", "modelled", "unknown"]


class Receipt(Message):
    """Which device ran which blocks for one request, how long, how many bytes, how many joules."""

    request: Text
    deployment: Name
    generation: Count
    route: Text
    """As a plan prints it: `r0: pi4[0:12) -u8-> nano[12:19)`."""
    attempts: Annotated[int, Field(ge=0)]
    latency_ms: NonNegative
    """From acceptance to the answer in hand."""
    held_ms: NonNegative
    """Part of it before the answered attempt was sent: waiting for room in a window, and attempts that were lost."""
    stages: tuple[StageTrace, ...]
    exit: Text = ""
    """The exit that it left by, its answer being that of the exit's head; empty where it went all the way."""
    bands: Count = 0
    """So many of the stages are bands of rows that were computed side by side, before the others."""
    cached_from: Text = ""
    """The request whose answer this is, where nothing was sent or computed for this one: no attempts, no stages, all of
    the latency was spent here. Generation and route are then those that answered that request."""

    @property
    def line_ms(self) -> float:
        """From sending the attempt that was answered to the answer in hand: what the plan predicts."""
        return self.latency_ms - self.held_ms

    @property
    def energy_j(self) -> float:
        """Joules over all stages; says nothing without `energy_method`."""
        return sum(stage.energy_j for stage in self.stages)

    @property
    def energy_method(self) -> EnergyMethod:
        """Measured only when every stage's joules are; unknown when a stage does not say where they are from."""
        if not self.stages or any(not stage.energy_source for stage in self.stages):
            return "unknown"
        return "measured" if all(stage.energy_method == "measured" for stage in self.stages) else "modelled"

    @property
    def travel_ms(self) -> float:
        """The way there and back: what holding, waiting at stages, computing and coding leave of the latency."""
        inside = [stage.wait_ms + stage.compute_ms + stage.codec_ms for stage in self.stages]
        side_by_side = max(inside[: self.bands], default=0.0)
        return max(0.0, self.line_ms - side_by_side - sum(inside[self.bands :]))

    def as_dict(self) -> dict[str, object]:
        """For JSON: the fields and the sums."""
        return {
            **self.model_dump(mode="json"),
            "line_ms": self.line_ms,
            "travel_ms": self.travel_ms,
            "energy_j": self.energy_j,
            "energy_method": self.energy_method,
        }

    def __str__(self) -> str:
        if self.cached_from:
            return f"{self.latency_ms:.1f} ms from the cache (answer to {self.cached_from} over {self.route})"
        tries = "" if self.attempts == 1 else f", {self.attempts} attempts"
        left = f", left at {self.exit}" if self.exit else ""
        return f"{self.times_text} over {self.route} (generation {self.generation}{tries}){left}, {self.energy_text}"

    @property
    def times_text(self) -> str:
        """`40.0 ms`, or what of it was not on the line: `40.0 ms (8.0 held before it was sent, 32.0 on the line)`."""
        whole = f"{self.latency_ms:.1f} ms"
        if f"{self.held_ms:.1f}" == "0.0":
            return whole
        return f"{whole} ({self.held_ms:.1f} held before it was sent, {self.line_ms:.1f} on the line)"

    @property
    def energy_text(self) -> str:
        """`0.12 J measured`, or that nobody knows."""
        if self.cached_from:
            return "none used by devices"
        return "energy unknown" if self.energy_method == "unknown" else f"{self.energy_j:.3g} J {self.energy_method}"

    def table(self) -> Table:
        """One row per stage, for a terminal."""
        from stageline.tables import new_table  # noqa: PLC0415  a submitter without a terminal needs no rich

        table = new_table(str(self), "stage", ">wait ms", ">compute ms", ">codec ms", ">in kB", ">out kB", ">energy")
        sources = dict.fromkeys(stage.energy_source for stage in self.stages if stage.energy_source)
        table.caption = f"energy: {'; '.join(sources)}" if sources else None
        table.caption_justify = "left"
        for number, stage in enumerate(self.stages):
            band = f" band {number + 1} of {self.bands}" if number < self.bands else ""
            table.add_row(
                f"{stage.device}[{stage.first}:{stage.last}){band}",
                f"{stage.wait_ms:.1f}",
                f"{stage.compute_ms:.1f}",
                f"{stage.codec_ms:.1f}",
                f"{stage.bytes_in / 1000:.1f}",
                f"{stage.bytes_out / 1000:.1f}",
                f"{stage.energy_j:.3g} J {stage.energy_method}" if stage.energy_source else "-",
            )
        return table


@dataclass(frozen=True, slots=True)
class Guess:
    """One class and how probable it is."""

    label: str
    probability: float
    index: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The model's outputs for one request, and its receipt."""

    request: str
    outputs: Mapping[str, Array]
    receipt: Receipt
    labels: Sequence[str] = ()

    @property
    def output(self) -> Array:
        """The first output; the only one of most models."""
        return next(iter(self.outputs.values()))

    def top(self, count: int = 5) -> list[Guess]:
        """The most probable classes, best first; named by their number when the model's card has no labels.

        Scores that are not probabilities already (in 0..1, adding up to 1) go through softmax.
        """
        scores = self._scores()
        best = np.argsort(-scores, kind="stable")[:count]
        return [Guess(self.labels[i] if i < len(self.labels) else f"class {i}", float(scores[i]), int(i)) for i in best]

    @property
    def names_classes(self) -> bool:
        """Whether `top` means anything: the model has labels, or its first output is a distribution by itself."""
        return bool(self.labels) or _is_distribution(self.output.reshape(-1).astype(np.float64))

    def _scores(self) -> NDArray[np.float64]:
        candidates = [one for one in self.outputs.values() if one.size == len(self.labels)]
        scores = (candidates[0] if candidates else self.output).reshape(-1).astype(np.float64)
        if _is_distribution(scores):
            return scores
        exponents: NDArray[np.float64] = np.exp(scores - scores.max(initial=-np.inf))
        exponents /= exponents.sum()
        return exponents


def _is_distribution(scores: NDArray[np.float64]) -> bool:
    return bool(scores.size and scores.min() >= 0 and abs(scores.sum() - 1) < 1e-3)


class RequestFailedError(Exception):
    """The one clear error of a request: `reason` is a word to act on, `device` where it happened (if anywhere)."""

    def __init__(self, reason: str, detail: str, device: str = "", sent: int = 0) -> None:
        super().__init__(f"{reason}{f' on {device}' if device else ''}: {detail}")
        self.reason = reason
        self.detail = detail
        self.device = device
        self.sent = sent
        """How often it went out; 0 where the line had no place for it."""


@dataclass(frozen=True, slots=True)
class Result:
    """One of many: which it was (its place and what was handed in), and either its answer or its error."""

    index: int
    item: Any
    answer: Answer | None
    error: Exception | None
