"""A stage with open exits: one session per segment, so that what lies behind an exit is computed for those who stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.exits.confidence import is_confident
from models.runtime.passed import Passed
from models.runtime.stage_runner import StageRunner
from schemas.codec import Array
from schemas.model import Exit


@dataclass(frozen=True, slots=True)
class Part:
    """A segment that is loaded, and the exit at its end: its logits come beside the tensors of its cut."""

    runner: StageRunner
    exit: Exit | None


class SegmentedRunner:
    """Segments in a row; see `models.runtime.StageRunner`. Whatever the backend, it decides by the same numbers."""

    def __init__(self, parts: Sequence[Part], answer: str, *, memory_bytes: int = 0) -> None:
        """`answer` is the name of the model's first output, which any of its exits may give."""
        self.inputs = parts[0].runner.inputs
        self.outputs = parts[-1].runner.outputs
        self.memory_bytes = memory_bytes
        self._parts = tuple(parts)
        self._answer = answer

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """As `StageRunner.run`: all segments and all open heads, and nobody leaves."""
        return self.run_until(tensors, {}).outputs

    def run_until(self, tensors: Mapping[str, Array], thresholds: Mapping[str, float]) -> Passed:
        """As `StageRunner.run_until`."""
        met: list[str] = []
        made = dict(tensors)
        for part in self._parts:
            made = part.runner.run(made)
            if part.exit is None:
                continue
            logits = made.pop(part.exit.output.name)
            threshold = thresholds.get(part.exit.name)
            if threshold is None:
                continue
            met.append(part.exit.name)
            if is_confident(logits, threshold):
                return Passed({self._answer: logits}, part.exit.name, tuple(met))
        return Passed(made, None, tuple(met))

    def close(self) -> None:
        """Free all sessions."""
        for part in self._parts:
            part.runner.close()
