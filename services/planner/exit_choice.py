"""The thresholds that suit a wish best, chosen together with the split.

SPINN (Laskaridis et al., MobiCom 2020) and Edgent (Li et al., IEEE TWC 2020) choose threshold or exit and split in one
go: a plan is made for each operating point that the wish allows, and

    accuracy_min        of the points that are accurate enough, the one with the best objective is taken
    latency_bound_ms    with objective latency: the most accurate point whose best plan keeps the bound (Edgent)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from services.planner.cost import Problem
from services.planner.errors import InfeasibleError, PlanningError
from services.planner.exit_rules import accuracy_of, bound_decides
from services.planner.flow import objective
from services.planner.policy import Choice

_SAME: Final = 1e-6
"""Plans whose objectives differ by less than this share are equal: then the more accurate one is taken."""


def best_point(problems: Iterable[Problem], plan: Callable[[Problem], Choice]) -> tuple[Problem, Choice]:
    """The plan that suits the wish best, over all exits that it leaves to choose from, and its problem. Pure.

    Args:
        problems: the same but for their exits, the most accurate first (`allowed_rules`).
        plan: a policy's.

    Raises:
        services.planner.errors.PlanningError: there is no plan for any of them, or none that keeps the bound.
    """
    found: list[tuple[Problem, Choice]] = []
    refused: PlanningError | None = None
    for problem in problems:
        try:
            choice = plan(problem)
        except PlanningError as error:
            refused = refused or error
            continue
        found.append((problem, choice))
        if bound_decides(problem.card, problem.deployment) and keeps_bound(problem, choice):
            return problem, _noted(problem, choice)
    if not found:
        raise refused or InfeasibleError("there is nothing to plan for")
    best = min(objective(problem, choice.predicted) for problem, choice in found)
    problem, choice = next(
        (problem, choice)
        for problem, choice in found
        if objective(problem, choice.predicted) <= best + _SAME * abs(best)
    )
    if bound_decides(problem.card, problem.deployment):
        raise InfeasibleError(
            f"no thresholds of {problem.card.name} that were measured keep {problem.deployment.latency_bound_ms:g} ms: "
            f"the quickest plan ({choice}) takes {choice.predicted.latency_ms:.1f} ms. Allow more, or ask for less "
            "accuracy"
        )
    return problem, _noted(problem, choice)


def keeps_bound(problem: Problem, choice: Choice) -> bool:
    """Whether a plan is predicted to take no longer than the wish allows."""
    return choice.predicted.latency_ms <= (problem.deployment.latency_bound_ms or math.inf)


def _noted(problem: Problem, choice: Choice) -> Choice:
    """The choice, with what its thresholds were chosen for."""
    wish = problem.deployment
    bounded = bound_decides(problem.card, wish)
    if wish.accuracy_min is None and not bounded:
        return choice
    accuracy = accuracy_of(problem.card, problem.exits)
    got = f"{accuracy:.1%} accurate" if accuracy is not None else "of unknown accuracy, as some exits are closed,"
    why = f"the most accurate that keep {wish.latency_bound_ms:g} ms" if bounded else "the best for the objective"
    least = f" of those that reach {wish.accuracy_min:.1%}" if wish.accuracy_min is not None else ""
    return replace(choice, notes=(*choice.notes, f"thresholds {got} on validation data, {why}{least}"))
