"""What rows side by side cost: every band on its device, and the stages behind them.

    band     rtt + down + compute + frame + up, and on to the device that joins them: half a hop + down
    latency  submitter + scattering + the slowest band + further frames + stages

Bands run at the same time, so the slowest counts, and whoever waits for several waits for the one that is late: that
takes somewhat more than is expected of it. The band of the device that joins them stays there: nothing of it goes
through the broker. Rows of the halo are sent twice, and the first stage takes in as many frames as there are other
bands. What each band takes: `services.planner.band_times`.

A device that has just computed a band is not at rest when its stage's turn comes: `services.planner.after_a_band`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.planner.after_a_band import more_of_stage_ms
from services.planner.band_times import BandTimes, Shared, busy_ms, each_band
from services.planner.cost import Problem
from services.planner.facts import DeviceFacts
from services.planner.line_cost import Line, LineCost
from services.planner.stage_times import transfer_ms

SPREAD: Final = 0.1
"""By so much of its time a band is early or late, typically (docs/performance.md: stages miss by 3 to 14 %)."""
_LATEST: Final = (0.0, 0.0, 0.56, 0.85, 1.03, 1.16, 1.27, 1.35, 1.42)
"""Expected greatest of 0, 1, 2 ... normal deviates; of more than 8 it hardly grows."""


@dataclass(frozen=True, eq=False)
class SharedCost:
    """Bands and the stages behind them."""

    line: LineCost
    bands: tuple[BandTimes, ...]
    """One each, in order."""
    more_ms: tuple[float, ...]
    """By stage behind them, what it takes longer because its device has computed a band just before."""
    further_frames_ms: float
    """Of the first of these stages,"""
    arriving: float
    """and the share of what it takes that comes through the broker."""


def shared_cost(problem: Problem, shared: Shared, rest: Line) -> SharedCost:
    """Bands, and the stages of `rest` behind them; inf where a stage is not feasible."""
    joins = rest[0].device
    bands = each_band(problem, shared, joins)
    busy = busy_ms(shared, bands)
    more = tuple(more_of_stage_ms(problem, stage, busy.get(stage.device, 0.0)) for stage in rest)
    away = [device != joins for device in shared.devices]
    rows = [last - first for first, last in shared.gives]
    arriving = sum(count for count, goes in zip(rows, away, strict=True) if goes) / sum(rows)
    further = max(0, sum(away) - 1) * _frame_ms(problem.devices[joins])
    slowest = slowest_ms(
        [
            float(band.total_ms[0]) + (arrival_ms(problem, shared.position, joins, arriving) if goes else 0.0)
            for band, goes in zip(bands, away, strict=True)
        ]
    )
    stages = sum(float(problem.latency_ms[stage]) for stage in rest) - arrival_ms(problem, shared.position, joins, 1.0)
    taken = sum(float(band.taken_bytes[0]) for band in bands)
    line = LineCost(
        latency_ms=problem.submit_ms + scatter_ms(problem, bands) + slowest + further + stages + sum(more),
        bottleneck_ms=_bottleneck_ms(problem, shared, bands, rest, arriving),
        energy_j=_energy_j(problem, shared, bands, rest),
        moved_bytes=taken
        + sum(float(band.given_bytes[0]) for band in bands)
        + sum(float(problem.crossing_bytes[stage.last]) for stage in rest),
        largest_bytes=max(float(problem.wire_bytes[position]) for position in (0, *(stage.last for stage in rest))),
        stages=1 + len(rest),
        measured=all(
            problem.devices[device].info.power.method == "measured"
            for device in (*shared.devices, *(stage.device for stage in rest))
        ),
    )
    return SharedCost(line, bands, more, further, arriving)


def arrival_ms(problem: Problem, position: int, joins: int, share: float) -> float:
    """From the broker to the device that joins the bands, of that share of what crosses the cut."""
    return float(problem.rtt_ms[joins]) / 2 + share * float(problem.down_ms[joins, position])


def scatter_ms(problem: Problem, bands: Sequence[BandTimes]) -> float:
    """What the submitter needs longer for several frames whose rows overlap than for the input as it is.

    Nobody measures a submitter: a frame is taken to cost it what it costs the quickest device, on a core of its own.
    """
    taken_bytes = sum(float(band.taken_bytes[0]) for band in bands)
    extra = np.array([max(0.0, taken_bytes - float(problem.wire_bytes[0]))])
    profiles = [device.profile for device in problem.devices]
    frame_ms = min(profile.frame_ms * min(1.0, profile.capacity_cores) for profile in profiles)
    return float(transfer_ms(extra, problem.hub.submitter_up_mbps)[0]) + (len(bands) - 1) * frame_ms


def slowest_ms(bands_ms: Sequence[float]) -> float:
    """When the last of several bands is expected, each of which may be late."""
    return max(bands_ms) * (1 + SPREAD * _LATEST[min(len(bands_ms), len(_LATEST) - 1)])


def _frame_ms(facts: DeviceFacts) -> float:
    return facts.profile.frame_ms * facts.frame_slowdown


def _bottleneck_ms(problem: Problem, shared: Shared, bands: Sequence[BandTimes], rest: Line, arriving: float) -> float:
    """Of the device that one request keeps busy longest, or of its link."""
    service, down, up = busy_ms(shared, bands), dict[int, float](), dict[int, float]()
    for device, band in zip(shared.devices, bands, strict=True):
        down[device] = down.get(device, 0.0) + float(band.down_ms[0])
        up[device] = up.get(device, 0.0) + float(band.up_ms[0])
    for stage in rest:
        device, share = stage.device, arriving if stage is rest[0] else 1.0
        service[device] = service.get(device, 0.0) + float(problem.service_ms[stage])
        down[device] = down.get(device, 0.0) + share * float(problem.down_ms[device, stage.first])
        up[device] = up.get(device, 0.0) + float(problem.up_ms[device, stage.last])
    return max((*service.values(), *down.values(), *up.values()))


def _energy_j(problem: Problem, shared: Shared, bands: tuple[BandTimes, ...], rest: Line) -> float:
    joules = sum(float(problem.energy_j[stage]) for stage in rest)
    for device, band in zip(shared.devices, bands, strict=True):
        power = problem.devices[device].info.power
        moving_ms = float(band.down_ms[0] + band.up_ms[0])
        joules += (power.busy_w * float(band.busy_ms[0]) + power.idle_w * moving_ms) / 1e3
    return joules
