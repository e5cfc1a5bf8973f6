"""A split must win by more than predictions are off: else the whole model stays on one device.

A pipeline's predicted latency adds up many measured terms, and errs more than that of one device does (medians of 3 to
14 % over plans, docs/performance.md). A gain smaller than that is no gain that anybody could rely on, and one device
instead of two is one less to lose.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from services.planner.cost import Problem
from services.planner.errors import InfeasibleError
from services.planner.evaluate import objective
from services.planner.policies.best_single import BestSingle
from services.planner.policy import Choice

SPLIT_MARGIN: Final = 0.15
"""A split for latency is worth it from this share of the best single device's latency (or cost) on."""


def prefer_whole(problem: Problem, best: Choice) -> Choice:
    """`best`, or the whole model on one device where a split for latency or cost gains next to nothing. Pure."""
    if problem.deployment.objective not in ("latency", "cost") or all(len(route.stages) == 1 for route in best.routes):
        return best
    try:
        whole = BestSingle().plan(problem)
    except InfeasibleError:
        return best
    gain = 1 - objective(problem, best.predicted) / objective(problem, whole.predicted)
    if gain > SPLIT_MARGIN:
        return best
    note = (
        f"a split would save {whole.predicted.latency_ms - best.predicted.latency_ms:.1f} ms "
        f"({gain:.0%} of the {problem.deployment.objective}), less than the {SPLIT_MARGIN:.0%} it may be off"
    )
    return replace(whole, notes=(*whole.notes, note))
