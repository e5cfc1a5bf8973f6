"""Every policy on the same problem: what each one's plan is predicted to give, and what holding and making it costs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from schemas.plan import Route
from services.planner.after_a_band import band_need_bytes
from services.planner.band_cost import shared_cost
from services.planner.complete import lines_of
from services.planner.cost import Problem
from services.planner.errors import PlanningError
from services.planner.line_cost import Line, line_cost
from services.planner.policy import Choice, Policy
from services.planner.shared_choice import shared_of

BETTER: Final[Mapping[str, Literal["more", "less"]]] = MappingProxyType(
    {
        "latency_ms": "less",
        "throughput_rps": "more",
        "energy_j": "less",
        "moved_bytes": "less",
        "largest_stage_bytes": "less",
        "memory_bytes": "less",
        "planning_ms": "less",
    }
)
"""What is compared, and which way is better."""
_TIE: Final = 1e-6


@dataclass(frozen=True)
class Figures:
    """What a plan is predicted to give and to take, per request where nothing else is said."""

    latency_ms: float
    throughput_rps: float
    energy_j: float
    energy_method: Literal["measured", "modelled"]
    moved_bytes: float
    """Through the broker, each tensor once: the input, what crosses each cut, the answer. Mean over the routes."""
    largest_stage_bytes: int
    """Memory of the largest stage: what the most burdened device must at least lend."""
    memory_bytes: int
    """Memory of all stages together."""
    planning_ms: float
    """Of this policy alone; the problem's cost arrays are made once for all."""


@dataclass(frozen=True)
class Row:
    """One policy: its plan with its figures, or the reason why it has none."""

    policy: str
    citation: str
    choice: Choice | None
    figures: Figures | None
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: figures are null where there is no plan."""
        figures = dict.fromkeys([*BETTER, "energy_method"]) if self.figures is None else asdict(self.figures)
        return {
            "policy": self.policy,
            "citation": self.citation,
            "label": self.choice.label if self.choice else "",
            "plan": str(self.choice) if self.choice else "",
            "notes": list(self.choice.notes) if self.choice else [],
            "reason": self.reason,
            **figures,
        }


def compare(problem: Problem, policies: Sequence[Policy]) -> list[Row]:
    """Have every policy plan, in the order given. Reads the clock; nothing else of the world."""
    return [_row(problem, policy) for policy in policies]


def best_of(rows: Sequence[Row]) -> dict[str, frozenset[str]]:
    """Per compared figure, the policies that have the best of it: several where they are equal, none without a plan."""
    best: dict[str, frozenset[str]] = {}
    for name, better in BETTER.items():
        values = {row.policy: float(getattr(row.figures, name)) for row in rows if row.figures is not None}
        if values:
            target = max(values.values()) if better == "more" else min(values.values())
            best[name] = frozenset(one for one, value in values.items() if abs(value - target) <= _TIE * abs(target))
    return best


def short_plan(routes: Sequence[Route], *, routes_max: int = 4, stages_max: int = 4) -> str:
    """A plan as it is printed, a line per route; of many routes or stages, the first and the last."""
    lines = [f"r{number}: {_short_route(route, stages_max)}" for number, route in enumerate(routes)]
    if len(lines) > routes_max:
        lines = [*lines[: routes_max - 1], f"... {len(lines) - routes_max} more ...", lines[-1]]
    return "\n".join(lines)


def _short_route(route: Route, stages_max: int) -> str:
    if len(route.stages) <= stages_max:
        return str(route)
    first = " -> ".join(
        map(str, [*([route.side_by_side] if route.side_by_side else []), *route.stages[: stages_max - 1]])
    )
    return f"{first} -> ... {len(route.stages) - stages_max} more ... -> {route.stages[-1]}"


def _row(problem: Problem, policy: Policy) -> Row:
    started = time.perf_counter()
    try:
        choice = policy.plan(problem)
    except PlanningError as error:
        return Row(policy.name, policy.citation, None, None, str(error))
    planning_ms = (time.perf_counter() - started) * 1e3
    return Row(policy.name, policy.citation, choice, _figures(problem, choice, planning_ms))


def _figures(problem: Problem, choice: Choice, planning_ms: float) -> Figures:
    lines = lines_of(problem, choice.routes)
    weights = [route.weight for route in choice.routes]
    moved = sum(
        weight * _moved_bytes(problem, route, line)
        for weight, route, line in zip(weights, choice.routes, lines, strict=True)
    )
    # A device holds blocks that several routes share only once.
    held = [int(problem.need_bytes[stage.first, stage.last]) for stage in {stage for line in lines for stage in line}]
    for route, line in zip(choice.routes, lines, strict=True):
        bands = len(route.side_by_side.bands) if route.side_by_side else 0
        held += [band_need_bytes(problem, line[0].first)] * bands
    return Figures(
        latency_ms=choice.predicted.latency_ms,
        throughput_rps=choice.predicted.throughput_rps,
        energy_j=choice.predicted.energy_j,
        energy_method=choice.predicted.energy_method,
        moved_bytes=moved / sum(weights),
        largest_stage_bytes=max(held),
        memory_bytes=sum(held),
        planning_ms=planning_ms,
    )


def _moved_bytes(problem: Problem, route: Route, line: Line) -> float:
    if route.side_by_side is None:
        return line_cost(problem, line).moved_bytes
    return shared_cost(problem, shared_of(problem, route, line), line).line.moved_bytes
