"""The plans that a learner may choose from: the exact planner's, and the best of those that are really different.

A cost model that is wrong about one device or one link is wrong about every plan that uses it, so the plans that are
next best under the model are of little help: they are the same with a cut moved by one block. What is gathered, in this
order, each group by what it is predicted to cost (`services.planner.learning.other_plans`):

    the exact planner's plan; what is served now
    rows side by side, exact's plan without them, the best single device, and for each device what exact would plan if
    its link were half as quick
    others: whole copies, plans without one device, the best pairs, the next best

Of plans that visit the same devices in the same order, the best ALIKE_MOST are kept.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from schemas.plan import Objective, Plan, Prediction
from services.planner.complete import choose, kind
from services.planner.cost import Problem
from services.planner.errors import InfeasibleError, PlanningError
from services.planner.learning.other_plans import lines_if_slower, other_lines
from services.planner.learning.terms import terms_of
from services.planner.policy import Choice
from services.planner.shared_choice import again
from services.planner.side_by_side import with_rows_shared

ARMS_MOST: Final = 10
ALIKE_MOST: Final = 2
REACH: Final = 3.0
"""A plan that is predicted to cost more than so many times the best is not worth a thought."""
LEARNABLE: Final[tuple[Objective, ...]] = ("latency", "throughput")
"""What submitters see of a plan, and so the learner."""
_NAME_MOST: Final = 4096
_HASH: Final = 16


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
    """The plan as it is printed, with the exits that are open; no other plan's (`name_of`)."""
    choice: Choice
    cost: float
    """As predicted, and minimised: ms of a request; under throughput ms between two answers."""
    terms: Mapping[str, float]
    """What the cost is made of, ms, by name: `pi4.compute`, `pi4.down`, `pi4.up`, `rest` (`terms_of`)."""


def name_of(what: Choice | Plan) -> str:
    """The name by which a plan is remembered: the same for the same routes and exits, and another for any other.

    It is what people read, so what is too long for a message ends in a hash of all of it.
    """
    exits = ", ".join(f"{rule.name} from {rule.threshold!r}" for rule in what.exits)
    text = f"{what}, exits {exits}" if exits else str(what)
    if len(text) <= _NAME_MOST:
        return text
    ending = f"... {hashlib.sha256(text.encode()).hexdigest()[:_HASH]}"
    return text[: _NAME_MOST - len(ending)] + ending


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
    return Arm(name_of(choice), choice, cost, terms_of(choice, cost, problem.deployment.objective))


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
        for name, arm in _completed(
            problem, [partial(again, problem, serving.routes, "what is served", shares=shares)]
        ):
            arms.setdefault(name, arm)
    plain = exact.without or exact
    rows: list[Callable[[], Choice]] = [lambda: plain, partial(with_rows_shared, problem, plain)]
    visits = Counter(_visited(arm) for arm in arms.values())
    for lines_found in (lines_if_slower(problem, exact), other_lines(problem, exact)):
        makers: list[Callable[[], Choice]] = [
            *rows,
            *(partial(choose, problem, lines, kind(lines)) for lines in lines_found),
        ]
        for name, arm in sorted(_completed(problem, makers), key=lambda one: (one[1].cost, one[0])):
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
