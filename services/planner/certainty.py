"""A split must win by more than predictions are off: else the whole model stays on one device.

A pipeline's predicted latency adds up many measured terms, and errs more than that of one device does (medians of 3 to
14 % over plans, docs/performance.md). A gain smaller than that is no gain that anybody could rely on, and one device
instead of two is one less to lose.

The same holds of rows side by side against whatever would be served without them, with one difference: most of the
blocks are where they were, on the same device, and whatever their prediction is off by, it is off in both plans. So the
margin is of what the two plans do differently; and a small share of the whole, and a few milliseconds, must be gained,
too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from schemas.plan import Route
from services.planner.complete import lines_of
from services.planner.cost import Problem
from services.planner.errors import InfeasibleError
from services.planner.flow import objective
from services.planner.policies.best_single import BestSingle
from services.planner.policy import Choice, Policy

SPLIT_MARGIN: Final = 0.15
"""A split for latency is worth it from this share of the best single device's latency (or cost) on."""
ROWS_LEAST: Final = 0.05
"""Of the whole latency, that sharing rows must save at least,"""
ROWS_LEAST_MS: Final = 3.0
"""and so many milliseconds: several processes are woken up and waited for, which takes what nobody can predict."""


@dataclass(frozen=True)
class Cautious:
    """A policy whose splits and bands must win by the margin, also in the worlds that explanations compare with."""

    policy: Policy

    @property
    def name(self) -> str:
        """The policy's own."""
        return self.policy.name

    @property
    def citation(self) -> str:
        """The policy's own."""
        return self.policy.citation

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            services.planner.errors.PlanningError: the policy has no plan; says why.
        """
        best = self.policy.plan(problem)
        if best.without is None:
            return prefer_whole(problem, best)
        return prefer_plain(problem, best, prefer_whole(problem, best.without))


def prefer_plain(problem: Problem, best: Choice, plain: Choice) -> Choice:
    """`best`, or the plan that would be served without rows side by side where these gain next to nothing. Pure."""
    shared, alone = best.predicted.latency_ms, plain.predicted.latency_ms
    same = alike_ms(problem, best.routes[0], plain.routes[0])
    least = max(ROWS_LEAST * alone, ROWS_LEAST_MS)
    if shared - same < (1 - SPLIT_MARGIN) * (alone - same) and alone - shared > least:
        return replace(best, without=plain)
    devices = len(best.routes[0].side_by_side.bands) if best.routes[0].side_by_side else 0
    saved = f"{alone - shared:.1f} ms, {1 - shared / alone if alone > 0 else 0.0:.0%} of the latency"
    note = (
        f"rows side by side on {devices} devices would save {saved}: too little to rely on, as predictions may be off "
        f"by {SPLIT_MARGIN:.0%} of what would be done differently"
    )
    return replace(plain, notes=(*plain.notes, note))


def alike_ms(problem: Problem, one: Route, other: Route) -> float:
    """Computing that both routes have the same devices do, ms: it takes the same in both."""
    mine, others = lines_of(problem, [one, other])
    total = 0.0
    for stage in mine:
        for beside in others:
            first, last = max(stage.first, beside.first), min(stage.last, beside.last)
            if stage.device == beside.device and first < last:
                total += float(problem.idle_compute_ms[stage.device, first, last])
    return total


def prefer_whole(problem: Problem, best: Choice) -> Choice:
    """`best`, or the whole model on one device where a split for latency or cost gains next to nothing. Pure."""
    if problem.deployment.objective not in ("latency", "cost") or all(len(route.stages) == 1 for route in best.routes):
        return best
    try:
        whole = BestSingle().plan(problem)
    except InfeasibleError:
        return best
    split, alone = objective(problem, best.predicted), objective(problem, whole.predicted)
    if split < (1 - SPLIT_MARGIN) * alone:
        return best
    gain = 1 - split / alone if alone > 0 else 0.0
    saved = f"{gain:.0%} of the {problem.deployment.objective}"
    if problem.deployment.objective == "latency":
        saved = f"{whole.predicted.latency_ms - best.predicted.latency_ms:.1f} ms, {saved}"
    note = f"a split would save {saved}: no more than the {SPLIT_MARGIN:.0%} that predictions may be off"
    return replace(whole, notes=(*whole.notes, note))
