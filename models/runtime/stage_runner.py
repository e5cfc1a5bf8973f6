"""What every backend makes of a stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from models.runtime.passed import Passed
from schemas.codec import Array
from schemas.model import TensorSpec


class StageRunner(Protocol):
    """A loaded stage. `run` and `run_until` are pure functions of what they are given; one call at a time."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """All tensors of the cut before the stage."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """All tensors of the cut after it."""

    @property
    def memory_bytes(self) -> int:
        """What the stage takes in this process (an estimate, see `stage_memory_bytes`)."""

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """The tensors of the cut after the stage, from those of the cut before it.

        Raises:
            models.runtime.checks.WrongInputError: a tensor is missing, unknown, or of another type or shape.
        """

    def run_until(self, tensors: Mapping[str, Array], thresholds: Mapping[str, float]) -> Passed:
        """As `run`, but at the first open exit whose head is sure enough the rest is not computed.

        Args:
            tensors: those of the cut before the stage.
            thresholds: by exit, 0 to 1: the largest softmax probability with which a request leaves there. At exits
                that are not named nobody leaves; names of exits that the stage was not loaded with mean nothing.

        Raises:
            models.runtime.checks.WrongInputError: as `run`.
        """

    def close(self) -> None:
        """Give the memory back; neither must be called again."""
