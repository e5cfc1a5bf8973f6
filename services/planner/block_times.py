"""The cost model for algorithms that add up block by block: a stage is an arrival, its blocks, and a departure.

    latency of [p, q) on d  =  arrive_ms[d, p] + sum of block_ms[d, p:q] + depart_ms[d, q]

Under a CPU quota a device at rest is quicker over its first milliseconds, which does not add up: as if every block were
the first. There, blocks and frames take their share of the whole model's time, and the sum is exact for the whole model
only. Without quotas it is exact for every stage.

Where some requests leave early, all are expected values over all of them, but the answers of those who leave, which no
block or cut sends by itself, are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.planner.cost import Floats, Problem


@dataclass(frozen=True, eq=False)
class BlockTimes:
    """n devices, P cut positions, B = P-1 blocks between them; all for a request that comes alone."""

    block_ms: Floats
    """(n, B)"""
    arrive_ms: Floats
    """(n, P) from when a cut is at the broker until the first block can start."""
    depart_ms: Floats
    """(n, P) from the end of the last block until the cut is at the broker."""
    arrive_fixed_ms: Floats
    """(n,) the part of an arrival that bytes do not change, of a request that does arrive."""
    depart_fixed_ms: Floats
    """(n,) the same of a departure."""
    handling_ms_per_mb: Floats
    """(n,) of a frame, by either of its ends."""


def block_times(problem: Problem) -> BlockTimes:
    """Read the parts from the cost model's arrays. Pure."""
    devices, inner = problem.devices, np.arange(len(problem.positions) - 1)
    sustained = problem.compute_ms[:, 0, -1] + problem.frame_ms[:, 0, -1]
    idle = problem.idle_compute_ms[:, 0, -1] + problem.idle_frame_ms[:, 0, -1]
    at_rest = np.where(sustained > 0, idle / np.where(sustained > 0, sustained, 1.0), 1.0)
    overhead = problem.compute_ms[:, 0, 0]
    frame = np.array([device.profile.frame_ms * device.frame_slowdown for device in devices])
    per_mb = np.array([device.profile.frame_ms_per_mb * device.frame_slowdown for device in devices])
    # An empty stage [p, p) handles cut p twice: once on its way in, once out.
    reach = problem.reach
    twice = (problem.frame_ms + problem.codec_ms).diagonal(axis1=1, axis2=2) - frame[:, None] * reach
    handling = twice / 2 * at_rest[:, None]
    half_hop = problem.rtt_ms / 2
    arrive_fixed = half_hop + (frame + overhead) * at_rest
    return BlockTimes(
        block_ms=(problem.compute_ms[:, inner, inner + 1] - overhead[:, None] * reach[inner]) * at_rest[:, None],
        arrive_ms=arrive_fixed[:, None] * reach + problem.down_ms + handling,
        depart_ms=half_hop[:, None] * reach + problem.up_ms + handling,
        arrive_fixed_ms=arrive_fixed,
        depart_fixed_ms=half_hop,
        handling_ms_per_mb=per_mb * at_rest,
    )
