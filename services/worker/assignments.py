"""What a plan asks of one device: its stages and bands, as assignments. Values in, values out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from schemas.parts import band_id, stage_id
from schemas.plan import CodecName, ExitRule, Plan, Route, RowRange


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
