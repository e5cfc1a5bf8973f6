"""What bands of rows cost their devices, one band and one device at a time.

Terms are those of every stage (`services.planner.stage_times`), a band's blocks by the share of each that it computes
(`models.rows.cost.band_fractions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.rows.chain import Rows
from models.rows.specs import OUTPUT_AXIS, input_axis
from services.planner.after_a_band import band_need_bytes
from services.planner.cost import FRAME_HEADER_BYTES, Floats, Problem
from services.planner.facts import UNLIMITED_BYTES
from services.planner.stage_times import transfer_ms, when_idle


@dataclass(frozen=True)
class Shared:
    """Bands in a problem's own numbers."""

    position: int
    """Of the cut that they end at."""
    devices: tuple[int, ...]
    """Top to bottom."""
    takes: tuple[Rows, ...]
    gives: tuple[Rows, ...]
    shares: tuple[tuple[float, ...], ...]
    """By band, how much of each block it computes."""


@dataclass(frozen=True, eq=False)
class BandTimes:
    """Of m possible bands on one device that is at rest, (m,) each."""

    rtt_ms: float
    """Half of it where what the band gives stays on its device."""
    down_ms: Floats
    compute_ms: Floats
    """Codecs included."""
    frame_ms: Floats
    up_ms: Floats
    busy_ms: Floats
    """Computing, codecs and frames at sustained load."""
    taken_bytes: Floats
    given_bytes: Floats
    """To the broker."""

    @property
    def total_ms(self) -> Floats:
        """From the broker and back to it, or to where it stays."""
        return self.rtt_ms + self.down_ms + self.compute_ms + self.frame_ms + self.up_ms


def band_times(
    problem: Problem, device: int, position: int, *, takes: Floats, gives: Floats, shares: Floats, stays: bool = False
) -> BandTimes:
    """What bands cost a device.

    Args:
        problem: for the device, the links and the codec.
        device: its number.
        position: of the cut that the bands end at.
        takes: (m,) rows of the input, how many.
        gives: (m,) rows of what crosses the cut.
        shares: (m, blocks before the cut) of each block that is computed.
        stays: this device also joins the bands: what it gives is neither coded nor sent.
    """
    facts, card = problem.devices[device], problem.card
    last = int(problem.positions[position])
    taken_bytes = takes / card.inputs[0].shape[input_axis(card)] * problem.wire_bytes[0]
    given = gives / card.cuts[last].tensors[0].shape[OUTPUT_AXIS]
    given_bytes = given * (0.0 if stays else problem.wire_bytes[position])
    per_mb = facts.profile.frame_ms_per_mb * facts.frame_slowdown
    coded = 0.0 if stays or problem.deployment.codec == "fp32" else card.cuts[last].nbytes / 1e6
    work = shares @ np.array(facts.profile.block_ms[:last]) + facts.stage_overhead_ms
    compute = work * facts.slowdown + per_mb * given * coded
    frame = facts.profile.frame_ms * facts.frame_slowdown + per_mb * (taken_bytes + given_bytes) / 1e6
    at_rest, and_frames = when_idle([facts], np.stack([compute, compute + frame])[None])[0]
    return BandTimes(
        rtt_ms=facts.link.rtt_ms * (0.5 if stays else 1.0),
        down_ms=transfer_ms(taken_bytes, facts.link.down_mbps),
        compute_ms=at_rest,
        frame_ms=np.maximum(0.0, and_frames - at_rest),
        up_ms=transfer_ms(given_bytes, facts.link.up_mbps),
        busy_ms=compute + frame,
        taken_bytes=taken_bytes,
        given_bytes=given_bytes,
    )


def may_take_a_band(problem: Problem, device: int, position: int) -> bool:
    """Whether a device has the memory, the packet size and the link for any band that ends at that cut."""
    facts = problem.devices[device]
    packet = facts.max_packet_bytes or UNLIMITED_BYTES
    moved = np.array([problem.down_ms[device, 0], problem.up_ms[device, position]])
    return (
        band_need_bytes(problem, position) <= problem.budget_bytes(device)
        and max(problem.wire_bytes[0], problem.wire_bytes[position]) + FRAME_HEADER_BYTES <= packet
        and bool(np.isfinite(moved).all())
    )


def each_band(problem: Problem, shared: Shared, joins: int) -> tuple[BandTimes, ...]:
    """What every band costs its device, in order; arrays of one. `joins` is the device of the stage behind."""
    return tuple(
        band_times(
            problem,
            device,
            shared.position,
            takes=np.array([below - above], dtype=np.float64),
            gives=np.array([end - start], dtype=np.float64),
            shares=np.array([share]),
            stays=device == joins,
        )
        for device, (above, below), (start, end), share in zip(
            shared.devices, shared.takes, shared.gives, shared.shares, strict=True
        )
    )


def busy_ms(shared: Shared, bands: Sequence[BandTimes]) -> dict[int, float]:
    """By device, how long its bands keep it busy at sustained load, ms."""
    busy: dict[int, float] = {}
    for device, band in zip(shared.devices, bands, strict=True):
        busy[device] = busy.get(device, 0.0) + float(band.busy_ms[0])
    return busy
