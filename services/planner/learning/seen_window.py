"""What submitters saw of one served plan since a decision: is there enough to judge it, and what did it cost? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from schemas.accuracy import Seen
from schemas.plan import Objective, Plan

ANSWERS_ENOUGH: Final = 8
"""Answers that a decision is judged by, at least;"""
ANSWERS_DEAR: Final = 3
"""and so many are enough where they are dearer by far."""
DEAR: Final = 2.0
BUSY: Final = 0.7
"""Share of a plan's windows that must be full for its throughput to be its own, and not the submitters'."""
_SUBMITTERS_MOST: Final = 256


@dataclass(frozen=True, slots=True)
class Sight:
    """One submitter's reports since the first, which is of a period that began before the plan did."""

    answers: int = 0
    latency_ms: float = 0.0
    """Sum over the answers."""
    seconds: float = 0.0
    under_way: float = 0.0
    """Requests under way at the reports, added up,"""
    reports: int = 0


@dataclass(frozen=True, slots=True)
class SeenWindow:
    """Reports about one generation."""

    generation: int
    since_s: float
    sights: Mapping[str, Sight] = field(default_factory=dict)

    def with_seen(self, seen: Seen) -> SeenWindow:
        """After a submitter's report; of another generation it is nothing to this."""
        if seen.generation != self.generation:
            return self
        if seen.submitter not in self.sights:
            room = len(self.sights) < _SUBMITTERS_MOST
            return replace(self, sights={**self.sights, seen.submitter: Sight()}) if room else self
        before = self.sights[seen.submitter]
        after = Sight(
            before.answers + sum(route.answers for route in seen.routes),
            before.latency_ms + sum(route.answers * route.latency_ms for route in seen.routes),
            before.seconds + seen.period_s,
            before.under_way + sum(route.waiting for route in seen.routes),
            before.reports + 1,
        )
        return replace(self, sights={**self.sights, seen.submitter: after})

    def again(self, now_s: float) -> SeenWindow:
        """Empty, for another decision about the same plan; submitters are known by now."""
        return SeenWindow(self.generation, now_s, dict.fromkeys(self.sights, Sight()))

    @property
    def answers(self) -> int:
        """Of all submitters."""
        return sum(one.answers for one in self.sights.values())

    def cost(self, objective: Objective) -> float | None:
        """ms of a request, or between two answers under throughput; None without an answer."""
        if not self.answers:
            return None
        if objective == "throughput":
            rate = sum(one.answers / one.seconds for one in self.sights.values() if one.seconds > 0)
            return 1e3 / rate if rate > 0 else None
        return sum(one.latency_ms for one in self.sights.values()) / self.answers

    def busy(self, plan: Plan) -> bool:
        """Whether submitters asked for as much as the plan lets through."""
        under_way = sum(one.under_way / one.reports for one in self.sights.values() if one.reports)
        return under_way >= BUSY * sum(route.window for route in plan.routes)

    def judged(self, plan: Plan, now_s: float, *, period_s: float, reference: float | None = None) -> float | None:
        """What the plan has cost, ms, once that can be told; None before.

        Args:
            plan: that is served.
            now_s: now.
            period_s: a decision takes so long at least.
            reference: what would be served instead costs this; a plan that is dearer by far is judged at once.
        """
        cost = self.cost(plan.objective)
        if cost is None:
            return None
        if plan.objective == "throughput" and not self.busy(plan):
            return None
        if reference is not None and cost > DEAR * reference and self.answers >= ANSWERS_DEAR:
            return cost
        return cost if now_s - self.since_s >= period_s and self.answers >= ANSWERS_ENOUGH else None
