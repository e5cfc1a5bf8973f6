"""A split must win by more than predictions are off: else the whole model stays on one device.

A pipeline's predicted latency adds up many measured terms, and errs more than that of one device does (medians of 3 to
14 % over plans, docs/performance.md). A gain smaller than that is no gain that anybody could rely on, and one device
instead of two is one less to lose. The same holds of rows side by side against whatever would be served without them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from services.planner.cost import Problem
from services.planner.errors import InfeasibleError
from services.planner.flow import objective
from services.planner.policies.best_single import BestSingle
from services.planner.policy import Choice, Policy

SPLIT_MARGIN: Final = 0.15
"""A split for latency is worth it from this share of the best single device's latency (or cost) on."""


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
    shared, alone = objective(problem, best.predicted), objective(problem, plain.predicted)
    if shared < (1 - SPLIT_MARGIN) * alone:
        return replace(best, without=plain)
    devices = len(best.routes[0].side_by_side.bands) if best.routes[0].side_by_side else 0
    saved = f"{plain.predicted.latency_ms - best.predicted.latency_ms:.1f} ms, {1 - shared / alone:.0%} of the latency"
    note = (
        f"rows side by side on {devices} devices would save {saved}: no more than the {SPLIT_MARGIN:.0%} that "
        "predictions may be off"
    )
    return replace(plain, notes=(*plain.notes, note))


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
