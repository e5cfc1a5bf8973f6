"""What every exit says of every validation example: enough to choose thresholds, or exits, without the network.

This is the correlation data of multi-exit networks: with a threshold t for exit j, `confidence[n, j] >= t` is the
matrix M[n, j] from which survival follows, whichever exits are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.bounded_npz import bounded_npz

LARGEST_BYTES: Final = 256 << 20
"""Millions of examples."""

Confidences = np.ndarray[Any, np.dtype[np.float32]]
Hits = np.ndarray[Any, np.dtype[np.bool_]]


class BadMeasurementError(ValueError):
    """A file that holds no such measurement; says what it should hold."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} holds no confidences of exits: {why}; train again, or name the folder it is in")


@dataclass(frozen=True, eq=False)
class Measured:
    """One row per example, one column per exit in order and the last for the final output.

    Attributes:
        confidence: float32 [examples, exits + 1], largest softmax probability.
        correct: bool [examples, exits + 1], whether that class is the label.
    """

    confidence: Confidences
    correct: Hits

    def __post_init__(self) -> None:
        """Raises ValueError."""
        shape = self.confidence.shape
        if len(shape) != 2 or self.correct.shape != shape or shape[0] < 1 or shape[1] < 2:
            raise ValueError(f"confidences {list(shape)} and answers {list(self.correct.shape)} do not fit together")
        if self.confidence.dtype != np.float32 or self.correct.dtype != np.bool_:
            raise ValueError("confidences are float32 and answers bool")
        if not ((self.confidence >= 0) & (self.confidence <= 1)).all():
            raise ValueError("confidences are from 0 to 1")

    @property
    def exits(self) -> int:
        """How many exits there are."""
        return int(self.confidence.shape[1]) - 1

    @property
    def accuracy(self) -> tuple[float, ...]:
        """Of each output, were every example answered there; the final one last."""
        return tuple(float(share) for share in self.correct.mean(axis=0))

    def save(self, path: Path) -> None:
        """Write it as `.npz` with the arrays `confidence` and `correct`."""
        np.savez_compressed(path, confidence=self.confidence, correct=self.correct)

    @classmethod
    def load(cls, path: Path) -> Measured:
        """Read what `save` wrote.

        Raises:
            BadMeasurementError: see there.
        """
        try:
            with path.open("rb") as file:
                arrays = bounded_npz(file, most_bytes=LARGEST_BYTES, most_arrays=2)
            return cls(arrays["confidence"], arrays["correct"])
        except (OSError, ValueError, KeyError) as error:
            raise BadMeasurementError(path, str(error)) from error
