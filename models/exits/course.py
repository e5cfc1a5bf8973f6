"""The course of a training run, kept with what came of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training examples looked like."""

    loss: float
    accuracy: tuple[float, ...]
    """Of each output on the training examples as they were met, the final one last."""
