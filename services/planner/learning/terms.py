"""What a plan's cost is made of, one term per device and kind: what may be wrong, and is wrong for every plan alike.

    latency      a sum: computing and frames on each device, sending to it, sending from it
    throughput   the time between two answers is set by what binds each route, so a route's share of it is one term

What no device is named for (the submitter's own way, round trips) is the term `rest`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from schemas.plan import Objective, Route, StagePrediction
from services.planner.policy import Choice

REST: Final = "rest"


def terms_of(choice: Choice, cost_ms: float, objective: Objective) -> Mapping[str, float]:
    """Terms by name, ms; they add up to the cost.

    Args:
        choice: a complete plan, with predictions of its stages.
        cost_ms: its predicted cost (`services.planner.learning.arms.cost_of`).
        objective: latency or throughput.
    """
    terms: defaultdict[str, float] = defaultdict(float)
    for route in choice.routes:
        if objective == "throughput":
            name = _binding(route)
            if name:
                terms[name] += route.weight * cost_ms
        else:
            for name, ms in _all(route):
                terms[name] += route.weight * ms
    known = sum(terms.values())
    # Side by side, devices take less together than one after the other would.
    scale = min(1.0, cost_ms / known) if known > 0 else 1.0
    scaled = {name: scale * ms for name, ms in sorted(terms.items()) if ms > 0}
    return {**scaled, REST: max(0.0, cost_ms - sum(scaled.values()))}


def _all(route: Route) -> list[tuple[str, float]]:
    """Of bands side by side, those of the one that all wait for."""
    parts = [(stage.device, one) for stage, one in zip(route.stages, route.stage_predictions, strict=False)]
    side = route.side_by_side
    bands = [(band.device, one) for band, one in zip(side.bands, side.predictions, strict=False)] if side else []
    slowest = [max(bands, key=lambda one: sum(ms for _, ms in _of(one[1])))] if bands else []
    return [(f"{device}.{kind}", ms) for device, predicted in [*slowest, *parts] for kind, ms in _of(predicted)]


def _of(predicted: StagePrediction) -> list[tuple[str, float]]:
    return [
        ("compute", predicted.compute_ms + predicted.frame_ms), ("down", predicted.down_ms), ("up", predicted.up_ms),
    ]  # fmt: skip


def _binding(route: Route) -> str:
    """The longest term of a route, which sets its pace; empty without predictions."""
    return max(_all(route), key=lambda term: term[1], default=("", 0.0))[0]
