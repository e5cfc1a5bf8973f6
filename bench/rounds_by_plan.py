"""Rounds of two plans in turns, one with rows shared and one without, told apart by what the planner made each time.

It plans anew each round, from facts that moved a little, so one round may divide other blocks than another. Figures of
different plans are never put together: a row is of the plans that most rounds had, and names the others beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from bench.statistics import median, paired_ratio, spread
from schemas.plan import Plan, Route


@dataclass(frozen=True)
class Seen:
    """One plan in one round."""

    plan: Plan
    latencies_ms: tuple[float, ...]
    """With a pause before each request,"""
    in_a_row_ms: tuple[float, ...]
    """and without."""
    error: float
    """Largest difference from the unsplit model's answers."""


@dataclass(frozen=True)
class Round:
    """Both plans, one right after the other."""

    plain: Seen
    """The best without rows shared,"""
    shared: Seen
    """and the best with; the same plan where the planner shares none."""

    @property
    def layouts(self) -> tuple[str, str]:
        """What tells rounds apart."""
        return layout(self.plain.plan), layout(self.shared.plan)


def layout(plan: Plan) -> str:
    """Which devices take which blocks; not how many rows each gets, which follows telemetry to the row."""
    return " | ".join(map(_route, plan.routes))


def _route(route: Route) -> str:
    stages = [str(stage) for stage in route.stages]
    if route.side_by_side is not None:
        devices = " + ".join(band.device for band in route.side_by_side.bands)
        stages.insert(0, f"({devices})[0:{route.side_by_side.last})")
    return " -> ".join(stages)


def row(fleet: str, model: str, rounds: Sequence[Round]) -> dict[str, Any]:
    """One model's figures: of the plans that most rounds had, the earlier of those that equally many had."""
    kinds: dict[tuple[str, str], list[Round]] = {}
    for one in rounds:
        kinds.setdefault(one.layouts, []).append(one)
    most = max(kinds.values(), key=len)
    bands = most[-1].shared.plan.routes[0].side_by_side
    return {
        "fleet": fleet,
        "model": model,
        "devices_sharing": len({band.device for band in bands.bands}) if bands else 0,
        "blocks_shared": bands.last if bands else 0,
        **_figures(most),
        "in_a_row_ms": median(_flat(one.shared.in_a_row_ms for one in most)),
        "without_in_a_row_ms": median(_flat(one.plain.in_a_row_ms for one in most)),
        "predicted_ms": _predicted_ms(most[-1].shared.plan),
        "without_predicted_ms": _predicted_ms(most[-1].plain.plan),
        "max_abs_error": max(max(one.plain.error, one.shared.error) for one in rounds),
        "plan": str(most[-1].shared.plan),
        "without_plan": str(most[-1].plain.plan),
        "rounds_with_other_plans": len(rounds) - len(most),
        "other_plans": [
            {"layout": shared, "without_layout": plain, **_figures(others)}
            for (plain, shared), others in kinds.items()
            if others is not most
        ],
    }


def _figures(rounds: Sequence[Round]) -> dict[str, Any]:
    """Of rounds with the same plans."""
    shared = [one.shared.latencies_ms for one in rounds]
    plain = [one.plain.latencies_ms for one in rounds]
    ratio = paired_ratio([median(one) for one in shared], [median(one) for one in plain])
    return {
        "rounds": len(rounds),
        "latency_ms": median(_flat(shared)),
        "latency_spread": spread(_flat(shared)),
        "without_ms": median(_flat(plain)),
        "without_spread": spread(_flat(plain)),
        "ratio": ratio["median"],
        "ratio_spread": [ratio["p25"], ratio["p75"]],
    }


def _predicted_ms(plan: Plan) -> float | None:
    return plan.predicted.latency_ms if plan.predicted else None


def _flat(rounds: Iterable[Iterable[float]]) -> list[float]:
    return list(chain.from_iterable(rounds))
