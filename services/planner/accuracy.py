"""Is what was predicted true? Stage times as workers report them, against the plan's own prediction; logged."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

from schemas.plan import Plan, stage_places
from schemas.stages import StageTiming, Timing

logger = logging.getLogger(__name__)

FRAMES_ENOUGH: Final = 30
"""A verdict needs so many frames."""
_KEPT: Final = 32


@dataclass(frozen=True, slots=True)
class Comparison:
    """One stage: what its plan expected and the median of what its worker measured, ms."""

    deployment: str
    generation: int
    stage: str
    device: str
    predicted_ms: float
    measured_ms: float

    def __str__(self) -> str:
        off = (self.measured_ms / self.predicted_ms - 1) if self.predicted_ms else 0.0
        return (
            f"{self.deployment} g{self.generation} {self.stage} on {self.device}: {self.measured_ms:.2f} ms measured, "
            f"{self.predicted_ms:.2f} ms predicted ({off:+.0%})"
        )


class Accuracy:
    """Collects timings; gives a comparison once for each stage of each generation, when enough frames went through."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int, str], tuple[int, tuple[float, ...]]] = {}

    def observe(self, timing: Timing, serving: Mapping[str, Plan]) -> list[Comparison]:
        """Take in one report; `serving` holds the current plans by deployment."""
        current = {(name, plan.generation) for name, plan in serving.items()}
        self._seen = {key: seen for key, seen in self._seen.items() if key[:2] in current}
        found = (self._stage(timing.device, one, serving.get(one.deployment)) for one in timing.stages)
        return [comparison for comparison in found if comparison is not None]

    def _stage(self, device: str, one: StageTiming, plan: Plan | None) -> Comparison | None:
        if plan is None or plan.generation != one.generation or one.frames == 0:
            return None
        route, place = stage_places(one.stage)
        predictions = plan.routes[route].stage_predictions if route < len(plan.routes) else ()
        if place >= len(predictions):
            return None
        key = (one.deployment, one.generation, one.stage)
        before, times = self._seen.get(key, (0, ()))
        frames = before + one.frames
        self._seen[key] = frames, (*times, one.compute_ms + one.codec_ms)[-_KEPT:]
        if before >= FRAMES_ENOUGH or frames < FRAMES_ENOUGH:
            return None
        measured = median(self._seen[key][1])
        return Comparison(*key, device, predicted_ms=predictions[place].compute_ms, measured_ms=measured)
