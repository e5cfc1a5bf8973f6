"""What a worker should do next, from the plans that it sees and the stages that it holds. Values in, values out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from schemas.parts import band_id, stage_id
from schemas.plan import CodecName, ExitRule, Plan, Route, RowRange
from schemas.stages import DEVICE_STAGES_MOST, StageState

MOST_STAGES: Final = 64
"""Stages that one plan may place on one device: each is a subscription, and a look at all others before it loads."""

MOST_HELD: Final = DEVICE_STAGES_MOST
"""Stages of all plans together; what is beyond that waits until others are dropped."""


@dataclass(frozen=True, slots=True, order=True)
class StageKey:
    """Names one stage of one generation; prints as in topics: `cats/4/r0s1`."""

    deployment: str
    generation: int
    stage: str

    def __str__(self) -> str:
        return f"{self.deployment}/{self.generation}/{self.stage}"

    @property
    def fields(self) -> dict[str, object]:
        """What a log line about this stage carries (`services.lifecycle`)."""
        return {"deployment": self.deployment, "generation": self.generation, "stage": self.stage}


class Rows(NamedTuple):
    """Of a band: rows of the model's input that it takes, and of the tensor behind its blocks that it gives."""

    takes: RowRange
    gives: RowRange


@dataclass(frozen=True, slots=True, order=True)
class Slice:
    """What is computed, whoever asks for it: stages of the same slice share one runner."""

    card_sha: str
    first: int
    last: int
    rows: Rows | tuple[()] = ()
    """Nothing of a stage: it computes all rows there are."""
    exits: tuple[str, ...] = ()
    """That are open in it: their heads are computed. At which thresholds is not the runner's affair."""

    @property
    def variant(self) -> str:
        """Tells it from other slices of the same blocks; empty for all rows and no exits."""
        if not self.rows and not self.exits:
            return ""
        return hashlib.blake2s(repr((tuple(self.rows), self.exits)).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Assignment:
    """One stage that a plan places on this device."""

    key: StageKey
    model: str
    slice: Slice
    route: int
    codec: CodecName
    """For what it sends on; answers always go as they are."""
    next_device: str | None
    """None: the last stage of its route, which answers the submitter."""
    next_stage: str | None
    together: int = 1
    """How many frames may be taken up and handed on at once."""
    band: int = 0
    bands: int = 0
    """Of a band: it is number `band` of so many; 0: it is a stage."""
    joins: tuple[RowRange, ...] = ()
    """Of the stage behind bands: the rows that each of them gives."""
    exits: tuple[ExitRule, ...] = ()
    """That requests may leave by in this stage: then it answers the submitter, and nobody is sent anything."""
    weight: float = 1.0
    """Its deployment's share of the compute thread, relative to other deployments'."""
    refused: str = ""
    """Why this device will not even try."""


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


def assignments(plan: Plan, device: str) -> tuple[Assignment, ...]:
    """The bands and stages that `plan` places on `device`, in route order."""
    found: list[Assignment] = []
    for number, route in enumerate(plan.routes):
        found.extend(_bands(plan, number, route, device))
        for index, stage in enumerate(route.stages):
            if stage.device != device:
                continue
            after = route.stages[index + 1] if index + 1 < len(route.stages) else None
            exits = tuple(rule for rule in plan.exits if stage.first <= rule.block < stage.last)
            found.append(
                Assignment(
                    key=StageKey(plan.deployment, plan.generation, stage_id(number, index)),
                    model=plan.model,
                    slice=Slice(plan.card_sha, stage.first, stage.last, exits=tuple(rule.name for rule in exits)),
                    route=number,
                    codec=stage.codec if after else "fp32",
                    next_device=after.device if after else None,
                    next_stage=stage_id(number, index + 1) if after else None,
                    together=route.together,
                    weight=plan.weight,
                    joins=_joins(route) if index == 0 else (),
                    exits=exits,
                )
            )
    return tuple(found)


def _joins(route: Route) -> tuple[RowRange, ...]:
    return tuple(band.gives for band in route.side_by_side.bands) if route.side_by_side else ()


def _bands(plan: Plan, number: int, route: Route, device: str) -> tuple[Assignment, ...]:
    """Bands go straight to the first stage of their route."""
    shared = route.side_by_side
    if shared is None:
        return ()
    return tuple(
        Assignment(
            key=StageKey(plan.deployment, plan.generation, band_id(number, index)),
            model=plan.model,
            slice=Slice(plan.card_sha, 0, shared.last, Rows(band.takes, band.gives)),
            route=number,
            codec=shared.codec,
            next_device=route.stages[0].device,
            next_stage=stage_id(number, 0),
            together=route.together,
            weight=plan.weight,
            band=index,
            bands=len(shared.bands),
        )
        for index, band in enumerate(shared.bands)
        if band.device == device
    )


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
