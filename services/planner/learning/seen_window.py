"""What submitters saw of one served plan since a decision: is there enough to judge it, and what did it cost? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from schemas.accuracy import RouteSeen, Seen
from schemas.plan import Objective, Plan

ANSWERS_ENOUGH: Final = 8
"""Answers that a decision is judged by, at least;"""
ANSWERS_DEAR: Final = 3
"""and so many are enough where they are dearer by far."""
DEAR: Final = 2.0
BUSY: Final = 0.7
"""Share of a plan's windows that must be full for its throughput to be its own, and not the submitters'."""
_SUBMITTERS_MOST: Final = 256
_PERIOD_LEAST_S: Final = 0.25
_SLACK: Final = 2.0
_QUICKER: Final = 3.0
"""What a report may say: so many times more answers than the windows let through, at this many times the speed that
was predicted."""


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

    def with_seen(self, seen: Seen, plan: Plan) -> SeenWindow:
        """After a submitter's report about a plan; of another generation it is nothing to this.

        Nobody vouches for reports: answers count only as far as the plan's windows could have let them through.
        """
        if seen.generation != self.generation:
            return self
        if seen.submitter not in self.sights:
            room = len(self.sights) < _SUBMITTERS_MOST
            return replace(self, sights={**self.sights, seen.submitter: Sight()}) if room else self
        before = self.sights[seen.submitter]
        period_s = max(seen.period_s, _PERIOD_LEAST_S)
        routes = {one.route: one for one in seen.routes if one.route < len(plan.routes)}.values()
        answers = [(min(one.answers, _answers_most(one, plan, period_s)), one.latency_ms) for one in routes]
        after = Sight(
            before.answers + sum(number for number, _ in answers),
            before.latency_ms + sum(number * latency_ms for number, latency_ms in answers),
            before.seconds + period_s,
            before.under_way + min(sum(one.waiting for one in routes), sum(route.window for route in plan.routes)),
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

    def dear(self, objective: Objective, reference: float | None) -> bool:
        """Whether the plan seems dearer by far than `reference`, ms, whoever is to blame."""
        cost = self.cost(objective)
        return cost is not None and reference is not None and cost > DEAR * reference and self.answers >= ANSWERS_DEAR

    def cost(self, objective: Objective) -> float | None:
        """ms of a request, or between two answers under throughput; None without an answer.

        A request's is that of the middle one of the submitters, however much the others say that they saw.
        """
        if not self.answers:
            return None
        if objective == "throughput":
            rate = sum(one.answers / one.seconds for one in self.sights.values() if one.seconds > 0)
            return 1e3 / rate if rate > 0 else None
        seen = [one for one in self.sights.values() if one.answers]
        return _middle([(one.latency_ms / one.answers, min(one.answers, ANSWERS_ENOUGH)) for one in seen])

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
        if self.dear(plan.objective, reference):
            return cost
        return cost if now_s - self.since_s >= period_s and self.answers >= ANSWERS_ENOUGH else None


def _answers_most(seen: RouteSeen, plan: Plan, period_s: float) -> int:
    """As many as fit into a route's window one after the other (Little 1961), and what was under way before."""
    route = plan.routes[seen.route]
    least_ms = route.predicted.latency_ms / _QUICKER if route.predicted is not None else 0.0
    return int(_SLACK * route.window * (1 + min(1e9, 1e3 * period_s / max(seen.latency_ms, least_ms, 1e-3))))


def _middle(values: list[tuple[float, int]]) -> float:
    """The weighted median of values with their weights; between two of them, half way."""
    half, passed = sum(weight for _, weight in values) / 2, 0
    values = sorted(values)
    for index, (value, weight) in enumerate(values):
        passed += weight
        if passed > half:
            return value
        if passed == half:
            return (value + values[index + 1][0]) / 2
    raise ValueError("no values")
