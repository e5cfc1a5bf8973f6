"""What a stage with exits makes of a request."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.codec import Array


@dataclass(frozen=True, slots=True)
class Passed:
    """Where a request is after a stage.

    Attributes:
        outputs: where it goes on, the tensors of the cut after the stage; where it has left, the model's answer: its
            first output by that output's own name, with the values of the head.
        exit: the exit that it left by; None: it goes on.
        met: the exits that were evaluated, in order; the last of them is `exit` where that is set.
    """

    outputs: dict[str, Array]
    exit: str | None = None
    met: tuple[str, ...] = ()
