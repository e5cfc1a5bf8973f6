"""A split must win by more than predictions are off: else the whole model stays on one device.

A pipeline's predicted latency adds up many measured terms, and errs more than that of one device does (medians of 3 to
14 % over plans, docs/performance.md). A gain smaller than that is no gain that anybody could rely on, and one device
instead of two is one less to lose.
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
    """A policy whose splits must win by the margin, also in the worlds that explanations compare with."""

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
        return prefer_whole(problem, self.policy.plan(problem))


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
