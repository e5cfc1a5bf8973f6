"""How long every possible stage takes on every device: computing, codecs, frames, and its way through the broker.

Terms, and where they come from:
    compute  measured block times (Profile), divided by the share of the device that is free, times what was learned of
             their truth, scaled to the capacity it has now (`DeviceFacts.slowdown`); a request that finds a device with
             a CPU quota idle is not slowed down as much (`services.planner.quota`)
    frame    Profile.frame_ms, and frame_ms_per_mb for every megabyte in and out; free share and capacity alike
    codec    a coded inner cut costs frame_ms_per_mb once more per raw megabyte, at both of its ends
    service  how long a request keeps the device from the next one: compute and codec, and frames too where they
             share a core with them (less than two cores); from two cores on they overlap
    down/up  bytes over the device's measured way through the broker; rtt is the two half hops of one visit

All are expected values over all requests where some leave early (`services.planner.survival`): a stage that every other
request reaches costs half of what it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.planner.facts import DeviceFacts
from services.planner.quota import Floats, idle_wall_ms
from services.planner.survival import Survival

OVERLAP_CORES: Final = 2.0
"""From this many cores on, frames are handled beside the computation."""


@dataclass(frozen=True, eq=False, kw_only=True)
class StageTimes:
    """n devices, P cut positions. Arrays over stages have shape (n, P, P): device, first position, position after."""

    compute_ms: Floats
    """Block times at sustained load, without codecs and frames; service_ms is what keeps the next request waiting."""
    codec_ms: Floats
    frame_ms: Floats
    service_ms: Floats
    idle_compute_ms: Floats
    """Computing and codecs on a device that was idle; idle_frame_ms is what handling the frames adds to that."""
    idle_frame_ms: Floats
    rtt_ms: Floats
    """(n,)"""
    down_ms: Floats
    """(n, P) receiving what crosses a cut."""
    up_ms: Floats
    """(n, P) sending it; what leaves at an exit in the stage is sent on top (`exits_up_ms`)."""
    exits_up_ms: Floats
    """(n, P, P) sending the answers of those who leave early in the stage."""


def stage_times(
    devices: Sequence[DeviceFacts],
    positions: NDArray[np.intp],
    wire_bytes: Floats,
    coded_bytes: Floats,
    survival: Survival,
) -> StageTimes:
    """Work the terms out. Pure.

    Args:
        devices: n of them, each with a profile of every block.
        positions: (P,) the block that starts at each cut position.
        wire_bytes: (P,) bytes across each cut, after its codec.
        coded_bytes: (P,) raw bytes that a codec reads or writes at each cut; 0 where tensors go as they are.
        survival: how much of the model runs for one request; answers are as large as what crosses the last position.
    """
    reach = survival.crossing[positions]
    here = reach[:, None]
    leaving = np.maximum(0.0, here - reach)
    wire_mb, coded_mb = reach * wire_bytes / 1e6, reach * coded_bytes / 1e6
    blocks_ms = [np.array(device.profile.block_ms) * survival.work for device in devices]
    work = np.array([[0.0, *np.cumsum(times)] for times in blocks_ms])[:, positions]
    slowdown = per_device([device.slowdown for device in devices])
    frame_slowdown = per_device([device.frame_slowdown for device in devices])
    overhead = per_device([device.stage_overhead_ms for device in devices])
    compute = (work[:, None, :] - work[:, :, None] + overhead * here) * slowdown
    per_mb = per_device([device.profile.frame_ms_per_mb for device in devices]) * frame_slowdown
    codec = per_mb * (coded_mb[:, None] + coded_mb)
    per_frame = per_device([device.profile.frame_ms for device in devices]) * frame_slowdown
    frame = per_frame * here + per_mb * (wire_mb[:, None] + wire_mb + leaving * wire_bytes[-1] / 1e6)
    overlaps = per_device([device.info.capacity_cores for device in devices]) >= OVERLAP_CORES
    # A quota is used up within one visit, whoever else leaves before.
    idle_compute = when_idle(devices, (compute + codec) / here) * here
    up = transfer_ms(wire_bytes, per_device([device.link.up_mbps for device in devices])[:, 0])
    some = leaving > 0  # nobody's answer takes no time, over a link that carries nothing, too
    answers = np.where(some, np.where(some, leaving, 1.0) * up[:, -1:, None], 0.0)
    return StageTimes(
        compute_ms=compute,
        codec_ms=codec,
        frame_ms=frame,
        service_ms=np.where(overlaps, np.maximum(compute + codec, frame), compute + codec + frame),
        idle_compute_ms=idle_compute,
        idle_frame_ms=when_idle(devices, (compute + codec + frame) / here) * here - idle_compute,
        rtt_ms=np.array([device.link.rtt_ms for device in devices]),
        down_ms=reach * transfer_ms(wire_bytes, per_device([device.link.down_mbps for device in devices])[:, 0]),
        up_ms=reach * up,
        exits_up_ms=answers,
    )


def transfer_ms(nbytes: Floats, mbps: Floats | float) -> Floats:
    """Time of `nbytes` at `mbps` (10^6 bits per second), ms; inf over a link that carries nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ms: Floats = np.where(nbytes > 0, nbytes * 8 / (np.asarray(mbps) * 1e3), 0.0)
    return ms


def per_device(values: Sequence[float]) -> Floats:
    """One number per device, shaped (n, 1, 1) to go with arrays over stages."""
    return np.array(values, dtype=np.float64).reshape(-1, 1, 1)


def when_idle(devices: Sequence[DeviceFacts], sustained_ms: Floats) -> Floats:
    """What work that takes `sustained_ms` (n, ...) at sustained load takes each device when it has been idle, ms.

    Its profile says how much processor time a run after a rest needs; and a quota is not used up then. A device that
    other work keeps busy is not at rest: in proportion to that, nothing is gained.
    """
    walls = np.array(sustained_ms)
    for index, device in enumerate(devices):
        sustained = sustained_ms[index]
        idle = sustained * device.profile.rest_ratio
        cores, period_ms = device.info.capacity_cores, device.info.quota_period_ms
        if period_ms > 0 and cores < 1:
            idle = np.minimum(idle_wall_ms(idle * cores, cores, period_ms), idle)
        walls[index] = sustained + (idle - sustained) * device.free_share
    return walls
