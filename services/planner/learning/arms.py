"""The plans that a learner may choose from: the exact planner's, and the best of those that are really different.

A cost model that is wrong about one device or one link is wrong about every plan that uses it, so the plans that are
next best under the model are of little help: they are the same with a cut moved by one block. What is gathered:

    the exact planner's plan, always the first; what is served now, if that is another one
    the whole model on every device that can hold it, and on all of them as replicas
    rows side by side, and exact's plan without them
    the best plan without each device in turn; the best over each two devices, at the cuts where the pair is best
    the next best by the model itself: without each stage of the best plan in turn (Lawler 1972, Murty 1968)

Of plans that visit the same devices in the same order, the best ALIKE_MOST are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from schemas.plan import Objective, Plan, Prediction
from services.planner.complete import choose, kind, lines_of
from services.planner.cost import Problem
from services.planner.errors import InfeasibleError, PlanningError
from services.planner.large_fleet import fleet_lines
from services.planner.learning.terms import terms_of
from services.planner.line_cost import Line, line_cost
from services.planner.one_route import EXACT_DEVICES, renumbered
from services.planner.policy import Choice
from services.planner.search import best_line, stage_cost
from services.planner.shared_choice import again
from services.planner.side_by_side import with_rows_shared
from services.planner.two_stages import two_stage_lines
from services.planner.whole_copies import whole_copies
from services.planner.wording import clip

ARMS_MOST: Final = 8
ALIKE_MOST: Final = 2
REACH: Final = 3.0
"""A plan that is predicted to cost more than so many times the best is not worth a thought."""
_WHOLE_MOST: Final = 16
_PAIRS_MOST: Final = 12
_OUT_MOST: Final = 4
"""What is looked at before the best are kept."""
LEARNABLE: Final[tuple[Objective, ...]] = ("latency", "throughput")
"""What submitters see of a plan, and so the learner."""


class NotLearnableError(PlanningError):
    """Nobody measures this objective from end to end, so nothing can be learned of it."""

    def __init__(self, policy: str, objective: Objective) -> None:
        super().__init__(
            f"policy {policy} learns from what submitters see, which is latency and throughput, not {objective}: "
            f"use --objective latency or throughput, or --policy exact"
        )


def check_learnable(policy: str, objective: Objective) -> None:
    """Whether anybody sees what is to be learned.

    Raises:
        NotLearnableError: nobody does.
    """
    if objective not in LEARNABLE:
        raise NotLearnableError(policy, objective)


@dataclass(frozen=True)
class Arm:
    """One plan that may be served."""

    name: str
    """The plan as it is printed."""
    choice: Choice
    cost: float
    """As predicted, and minimised: ms of a request; under throughput ms between two answers."""
    terms: Mapping[str, float]
    """What the cost is made of, ms, by name: `pi4.compute`, `pi4.down`, `pi4.up`, `rest` (`terms_of`)."""


def cost_of(objective: Objective, predicted: Prediction) -> float:
    """What a learner minimises, ms.

    Raises:
        NotLearnableError: nobody sees this objective.
    """
    if objective == "latency":
        return predicted.latency_ms
    if objective == "throughput":
        return 1e3 / max(predicted.throughput_rps, 1e-9)
    raise NotLearnableError("bandit or ppo", objective)


def arm_of(problem: Problem, choice: Choice) -> Arm:
    """A plan as an arm."""
    cost = cost_of(problem.deployment.objective, choice.predicted)
    return Arm(clip(str(choice)), choice, cost, terms_of(choice, cost, problem.deployment.objective))


def arms_of(problem: Problem, exact: Choice, serving: Plan | None = None, *, most: int = ARMS_MOST) -> tuple[Arm, ...]:
    """Exact's plan, then others by what they are predicted to cost; at most `most`. Pure; takes some plannings.

    Args:
        problem: on what is known now.
        exact: the plan of the exact planner for it.
        serving: what is served now; among the arms if it still can be.
        most: arms.

    Raises:
        NotLearnableError: nobody sees this objective.
    """
    first = arm_of(problem, exact)
    arms = {first.name: first}
    if serving is not None and serving.card_sha == problem.card.sha256:
        shares = [route.weight for route in serving.routes] if serving.in_turn else None
        arms.update(_completed(problem, [partial(again, problem, serving.routes, "what is served", shares=shares)]))
    others = [partial(choose, problem, lines, kind(lines)) for lines in _other_lines(problem, exact)]
    plain = exact.without or exact
    found = dict(_completed(problem, [*others, lambda: plain, partial(with_rows_shared, problem, plain)]))
    visits = Counter(_visited(arm) for arm in arms.values())
    for name, arm in sorted(found.items(), key=lambda one: (one[1].cost, one[0])):
        alike = visits[_visited(arm)]
        if len(arms) < most and name not in arms and alike < ALIKE_MOST and arm.cost <= REACH * first.cost:
            arms[name] = arm
            visits[_visited(arm)] += 1
    return tuple(arms.values())


def _visited(arm: Arm) -> tuple[tuple[str, ...], ...]:
    return tuple(route.devices for route in arm.choice.routes)


def _completed(problem: Problem, makers: Sequence[Callable[[], Choice]]) -> Iterator[tuple[str, Arm]]:
    """Of those that can be served, name and arm."""
    for make in makers:
        try:
            arm = arm_of(problem, make())
        except InfeasibleError:
            continue
        yield arm.name, arm


def _other_lines(problem: Problem, exact: Choice) -> Iterator[Sequence[Line]]:
    """Every kind of other plan, each several times perhaps."""
    whole = whole_copies(problem)
    yield from ([line] for line in whole[:_WHOLE_MOST])
    if len(whole) > 1 and problem.deployment.objective == "throughput":
        yield whole
    yield from _without_one(problem, exact)
    throughput = problem.deployment.objective == "throughput"
    cost, combine = (problem.bottleneck_ms, np.maximum) if throughput else (stage_cost(problem), np.add)
    pairs = sorted(two_stage_lines(problem, cost, combine), key=lambda line: _alone_ms(problem, line))
    yield from ([line] for line in pairs[:_PAIRS_MOST])
    yield from _next_best(problem, exact)


def _alone_ms(problem: Problem, line: Line) -> float:
    found = line_cost(problem, line)
    return found.bottleneck_ms if problem.deployment.objective == "throughput" else found.latency_ms


def _without_one(problem: Problem, exact: Choice) -> Iterator[Sequence[Line]]:
    """The best plan over all devices but one; in a large fleet, over all but one of those that matter most."""
    used = list(dict.fromkeys(stage.device for route in exact.routes for stage in route.stages))
    fleet = list(range(len(problem.devices)))
    large = len(fleet) > EXACT_DEVICES
    left_out = [index for index in fleet if problem.devices[index].name in used][:_OUT_MOST] if large else fleet
    for out in left_out if len(fleet) > 1 else ():
        group = [index for index in fleet if index != out]
        lines = fleet_lines(problem.only(group))
        if lines:
            yield [renumbered(line, group) for line in lines]


def _next_best(problem: Problem, exact: Choice) -> Iterator[Sequence[Line]]:
    """Of one route: the best that lacks one of its stages, for each; the second best of all is among them."""
    if len(exact.routes) != 1 or exact.routes[0].side_by_side or len(problem.devices) > EXACT_DEVICES:
        return
    try:
        (line,) = lines_of(problem, exact.routes)
    except InfeasibleError:
        return
    for stage in line:
        others = np.ones_like(problem.feasible)
        others[stage] = False
        other = best_line(problem.allowing(others))
        if other is not None:
            yield [other]
