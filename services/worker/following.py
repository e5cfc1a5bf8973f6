"""What a worker should do next, from the plans that it sees and the stages that it holds. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from schemas.plan import Plan
from schemas.stages import DEVICE_STAGES_MOST, StageState
from services.worker.assignments import Assignment, StageKey, assignments

MOST_STAGES: Final = 64
"""Stages that one plan may place on one device: each is a subscription, and a look at all others before it loads."""

MOST_HELD: Final = DEVICE_STAGES_MOST
"""Stages of all plans together; what is beyond that waits until others are dropped."""


@dataclass(frozen=True, slots=True)
class Held:
    """One stage as far as deciding about it goes."""

    assignment: Assignment
    state: StageState
    drained: bool = False
    """Draining, and quiet for long enough (or for too long anyway)."""


@dataclass(frozen=True, slots=True)
class Revive:
    """Serve again a stage that was on its way out: it is wanted after all."""

    key: StageKey


@dataclass(frozen=True, slots=True)
class Drop:
    """Let go of a stage and of the memory that only it uses."""

    key: StageKey


@dataclass(frozen=True, slots=True)
class Load:
    """Fetch, build, warm and subscribe a stage."""

    assignment: Assignment


@dataclass(frozen=True, slots=True)
class Drain:
    """Serve what is still under way, then drop."""

    key: StageKey


Action = Revive | Drop | Load | Drain


def decide(
    held: Mapping[StageKey, Held], upcoming: Mapping[str, Plan], current: Mapping[str, Plan], device: str
) -> tuple[Action, ...]:
    """What to do now, most urgent first; nothing when all is as it should be.

    1. Revive what is wanted after all: it costs nothing.
    2. Drop what nobody can use any more: give memory back before more is taken.
    3. Load what `current` names, then what `next` names.
    4. Drain what has been replaced.

    Args:
        held: what this device holds.
        upcoming: the plan being prepared, by deployment.
        current: the plan being served, by deployment.
        device: this device's name.
    """
    wanted = {one.key: one for plan in current.values() for one in _acceptable(plan, device)}
    for plan in upcoming.values():
        if plan.deployment not in current or plan.generation > current[plan.deployment].generation:
            wanted.update({one.key: one for one in _acceptable(plan, device)})
    revive: list[Action] = []
    drop: list[Action] = []
    drain: list[Action] = []
    stay: set[StageKey] = set()
    for key, one in held.items():
        if wanted.get(key) == one.assignment:
            stay.add(key)
            if one.state == "draining":
                revive.append(Revive(key))
        elif key in wanted:
            drop.append(Drop(key))
        elif one.state == "draining":
            if one.drained:
                drop.append(Drop(key))
        elif not _may_come(key, upcoming, current):
            if one.state == "ready":
                drain.append(Drain(key))
            else:
                drop.append(Drop(key))
    load = [Load(one) for key, one in wanted.items() if key not in stay][: max(0, MOST_HELD - len(held))]
    return (*revive, *drop, *load, *drain)


def _acceptable(plan: Plan, device: str) -> tuple[Assignment, ...]:
    """What `plan` asks of `device`; of one that asks for too much, its first stage, refused for the whole plan."""
    asked = assignments(plan, device)
    if len(asked) <= MOST_STAGES:
        return asked
    why = (
        f"generation {plan.generation} of {plan.deployment} places {len(asked)} stages on {device}, "
        f"which takes {MOST_STAGES} of one plan: use fewer routes or more devices"
    )
    return (replace(asked[0], refused=why),)


def _may_come(key: StageKey, upcoming: Mapping[str, Plan], current: Mapping[str, Plan]) -> bool:
    """Whether a prepared stage that no plan names now may still become current.

    The planner publishes `current` and clears `next`; the second may be seen first. So what was prepared stays until
    a later plan supersedes it or its deployment is gone.
    """
    serving = current.get(key.deployment)
    return serving is not None and key.generation > serving.generation and key.deployment not in upcoming
