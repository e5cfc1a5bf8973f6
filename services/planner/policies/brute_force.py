"""Every plan there is, one by one: the oracle that tests hold the exact planner against."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise, permutations
from math import comb, perm
from typing import Final

from services.planner.complete import choose, kind
from services.planner.cost import Problem
from services.planner.diagnosis import no_plan
from services.planner.errors import InfeasibleError
from services.planner.flow import objective, predict
from services.planner.line_cost import Line, LineCost, Placement, in_bound, line_cost
from services.planner.policy import Choice

LINES_MAX: Final = 5000


class BruteForce:
    """All sets of disjoint routes over all orders of devices and all cuts; for a handful of devices and blocks."""

    name = "brute-force"
    citation = "test oracle"

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            InfeasibleError: the problem has too many plans to try.
            services.planner.errors.PlanningError: no plan keeps the constraints.
        """
        devices, blocks = len(problem.devices), len(problem.positions) - 1
        lines = sum(perm(devices, size) * comb(blocks - 1, size - 1) for size in range(1, devices + 1))
        if lines > LINES_MAX:
            raise InfeasibleError(
                f"brute force would try all sets of {lines} routes; it stops at {LINES_MAX}: use --policy exact"
            )
        usable = [(line, cost) for line in all_lines(problem) if in_bound(problem, cost := line_cost(problem, line))]
        if not usable:
            raise no_plan(problem)
        best = min(_plans(usable), key=lambda plan: self._value(problem, plan))
        chosen = [line for line, _ in best]
        return choose(problem, chosen, kind(chosen))

    @staticmethod
    def _value(problem: Problem, plan: list[tuple[Line, LineCost]]) -> float:
        return objective(problem, predict(problem, [cost for _, cost in plan]))


def all_lines(problem: Problem) -> Iterator[Line]:
    """Every route: any devices in any order, cut anywhere; feasible or not."""
    last = len(problem.positions) - 1
    for size in range(1, min(len(problem.devices), last) + 1):
        for devices in permutations(range(len(problem.devices)), size):
            for cuts in combinations(range(1, last), size - 1):
                borders = pairwise((0, *cuts, last))
                yield tuple(
                    Placement(device, first, end) for device, (first, end) in zip(devices, borders, strict=True)
                )


def _plans(usable: list[tuple[Line, LineCost]]) -> Iterator[list[tuple[Line, LineCost]]]:
    """Every non-empty set of routes that share no device."""

    def extend(
        start: int, used: frozenset[int], plan: list[tuple[Line, LineCost]]
    ) -> Iterator[list[tuple[Line, LineCost]]]:
        for index in range(start, len(usable)):
            devices = {stage.device for stage in usable[index][0]}
            if not devices & used:
                grown = [*plan, usable[index]]
                yield grown
                yield from extend(index + 1, used | devices, grown)

    return extend(0, frozenset(), [])
