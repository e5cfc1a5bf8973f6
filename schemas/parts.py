"""The parts of a plan: what it has each device hold, named as on the bus."""

from __future__ import annotations

import re
from typing import NamedTuple

from schemas.plan import Plan, Route, StagePrediction


class Part(NamedTuple):
    """What a plan has one device hold: a stage, or a band of rows."""

    route: int
    stage: str
    """Its topic level: `r0s2`, `r0b1`."""
    device: str
    first: int
    last: int

    @property
    def is_band(self) -> bool:
        """It is a band of rows, computed beside others."""
        return "b" in self.stage


def parts_of(route: Route, number: int) -> tuple[Part, ...]:
    """The bands of a route, if it has any, then its stages; `number` is the route's in its plan."""
    parts = [Part(number, stage_id(number, i), one.device, one.first, one.last) for i, one in enumerate(route.stages)]
    if route.side_by_side is not None:
        last, bands = route.side_by_side.last, route.side_by_side.bands
        parts = [*(Part(number, band_id(number, i), one.device, 0, last) for i, one in enumerate(bands)), *parts]
    return tuple(parts)


def plan_parts(plan: Plan) -> tuple[Part, ...]:
    """All that devices hold for a plan, route by route."""
    return tuple(part for number, route in enumerate(plan.routes) for part in parts_of(route, number))


def part_at(plan: Plan, text: str) -> Part | None:
    """The stage or band of that id; None where the plan has none."""
    match = re.fullmatch(r"r([0-9]{1,4})[sb][0-9]{1,4}", text)
    if match is None or int(match[1]) >= len(plan.routes):
        return None
    return next((part for part in parts_of(plan.routes[int(match[1])], int(match[1])) if part.stage == text), None)


def predicted_parts(route: Route, number: int) -> tuple[tuple[Part, StagePrediction], ...]:
    """Those of a route's bands and stages that have predictions, and these."""
    parts = parts_of(route, number)
    bands = route.side_by_side.predictions if route.side_by_side is not None else ()
    stages = parts[len(parts) - len(route.stages) :]
    return (*zip(parts, bands, strict=False), *zip(stages, route.stage_predictions, strict=False))


def stage_id(route: int, index: int) -> str:
    """Topic level of one stage: `r0s2`."""
    return f"r{route}s{index}"


def band_id(route: int, index: int) -> str:
    """Topic level of one band: `r0b1`."""
    return f"r{route}b{index}"
