"""The blocks behind bands, as a planning problem of their own: for devices that have just computed a band.

A device with a CPU quota that has just computed finds that much of it used up when its stage's turn comes, and a device
that holds a band has less memory for stages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

import numpy as np

from services.planner.cost import Floats, Problem
from services.planner.facts import DeviceFacts
from services.planner.line_cost import Line, Placement
from services.planner.stage_times import StageTimes, when_idle

_OVER_STAGES: Final = frozenset({"feasible", "latency_ms", "bottleneck_ms", "energy_j"})
_OVER_CUTS: Final = ("positions", "wire_bytes", "reach", "crossing_bytes")
"""Of a `Problem`, arrays that are not among its `StageTimes`."""
_CURVE: Final = 200
"""Points of the curve that the cost of thousands of stages is read off."""


def band_need_bytes(problem: Problem, position: int) -> int:
    """Memory that a band takes: as its worker has it, no less than if it computed all rows."""
    return int(problem.need_bytes[0, position])


def behind(problem: Problem, position: int, bands: Mapping[int, float]) -> Problem:
    """The problem of the blocks behind a cut, for devices that have computed a band just before.

    Args:
        problem: the whole.
        position: of the cut.
        bands: by device, how long its band has kept it busy at sustained load; a device without one is not named.
    """
    times: dict[str, Any] = {}
    for field in (*fields(StageTimes), *(one for one in fields(Problem) if one.name in _OVER_STAGES)):
        whole = getattr(problem, field.name)
        cuts = {3: np.s_[:, position:, position:], 2: np.s_[:, position:]}
        times[field.name] = whole[cuts[whole.ndim]] if whole.ndim in cuts else whole
    need = problem.need_bytes[position:, position:]
    feasible, latency = times["feasible"].copy(), times["latency_ms"].copy()
    for device, before_ms in bands.items():
        feasible[device] &= need + band_need_bytes(problem, position) <= problem.budget_bytes(device)
        alone = times["compute_ms"][device] + times["codec_ms"][device] + times["frame_ms"][device]
        some = np.linspace(0.0, float(alone.max()), _CURVE)
        latency[device] += np.interp(alone, some, more_ms(problem.devices[device], some, before_ms))
    times |= {"feasible": feasible, "latency_ms": np.where(feasible, latency, np.inf), "need_bytes": need}
    times |= {name: getattr(problem, name)[position:] for name in _OVER_CUTS}
    return replace(problem, **times)


def more_ms(facts: DeviceFacts, alone: Floats, before_ms: float) -> Floats:
    """What stages take longer on a device that has been busy until just now, ms; shaped like `alone`.

    Args:
        facts: of the device.
        alone: what the stages keep it busy at sustained load.
        before_ms: for how long it has been, at sustained load.
    """
    if before_ms <= 0:
        return np.zeros_like(alone)
    both, mine = when_idle([facts], np.stack([alone + before_ms, alone])[None])[0]
    longer: Floats = np.maximum(0.0, both - when_idle([facts], np.full((1, 1), before_ms))[0, 0] - mine)
    return longer


def more_of_stage_ms(problem: Problem, stage: Placement, before_ms: float) -> float:
    """The same of one stage of the whole problem."""
    alone = problem.compute_ms[stage] + problem.codec_ms[stage] + problem.frame_ms[stage]
    return float(more_ms(problem.devices[stage.device], np.array([alone]), before_ms)[0])


def shifted(line: Line, position: int) -> Line:
    """A route of `behind(problem, position, ...)` in the numbers of the whole problem."""
    return tuple(Placement(stage.device, stage.first + position, stage.last + position) for stage in line)
