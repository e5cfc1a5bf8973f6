"""What every possible stage would cost, as arrays: the whole planning problem as numbers.

One stage `[first, last)` on one device costs, in ms,

    rtt + down(bytes in) + frame + compute + codec + up(bytes out)

so a route's latency is a sum over its stages and its pace is set by the slowest of their bottlenecks
`max(service, down, up)`. Every term depends on (device, first, last) alone, which is what makes exact planning by
subset dynamic programming possible (`services.planner.policies.exact`).

Terms, and where they come from:
    compute  measured block times (Profile) divided by the device's free share, which is 1.0 until telemetry can
             tell other work from our own; a request that finds a device with a CPU quota idle is not slowed down
             as much (`services.planner.quota`)
    frame    Profile.frame_ms, and frame_ms_per_mb for every megabyte in and out
    codec    a coded inner cut costs frame_ms_per_mb once more per raw megabyte, at both of its ends
    service  how long a request keeps the device from the next one: compute and codec, and frames too where they
             share a core with them (less than two cores); from two cores on they overlap
    down/up  bytes over the device's measured way through the broker; rtt is the two half hops of one visit
    energy   busy_w while computing and handling frames, idle_w while bytes are on the wire. Devices that a plan
             does not use, and the hub, are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from models.runtime import stage_memory_bytes
from schemas.deployment import Deployment
from schemas.device import DeviceInfo, LinkMeasure, Profile
from schemas.model import ModelCard
from services.planner.cuts import thin, wire_bytes
from services.planner.errors import PlanningError
from services.planner.pins import allowed, check_pins
from services.planner.quota import idle_wall_ms

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]
Need = Callable[[ModelCard, int, int], int]
"""Memory in bytes that blocks `[first, last)` of a card need (`models.runtime.stage_memory_bytes`)."""

FREE_SHARE_MIN: Final = 0.05
"""A device that looks fully busy still gets its turn: never predict worse than 20 times the profile."""
FRAME_HEADER_BYTES: Final = 16 << 10
"""Kept free below a broker's packet limit for the frame's header."""
OVERLAP_CORES: Final = 2.0
"""From this many cores on, frames are handled beside the computation."""
_UNLIMITED_BYTES: Final = 1 << 53
_UNLIMITED_MBPS: Final = 1e12


class NoDeviceError(PlanningError):
    """Nothing to plan on."""


class NoLinkError(PlanningError):
    """The submitter cannot send, so no plan would serve."""


class StaleProfileError(PlanningError):
    """A profile that was measured for another version of the model."""


@dataclass(frozen=True)
class DeviceFacts:
    """One usable device, as the planner knows it now."""

    info: DeviceInfo
    profile: Profile
    link: LinkMeasure
    memory_budget_bytes: int
    """What its worker will give to stages of this deployment."""
    free_share: float = 1.0
    """Share of the profiled capacity that other work leaves free, 0..1; 1.0 until telemetry can tell other work from
    our own (docs/decisions/0006-plans-do-not-follow-load-yet.md)."""
    stage_overhead_ms: float = 0.0
    """Fixed compute cost of any stage that block times do not show."""
    max_packet_bytes: int = 0
    """Largest MQTT packet its broker passes; 0 when unlimited or unknown."""

    @property
    def name(self) -> str:
        """The device's name."""
        return self.info.device

    @property
    def free(self) -> float:
        """The free share that costs are divided by, FREE_SHARE_MIN..1."""
        return min(1.0, max(FREE_SHARE_MIN, self.free_share))


@dataclass(frozen=True)
class HubFacts:
    """What all routes share: the submitter's way to the broker, and the hub's own link."""

    submitter_up_mbps: float = 1000.0
    submitter_down_mbps: float = 1000.0
    hop_ms: float = 0.0
    """Round trip submitter -> broker -> submitter of a small message."""
    hub_mbps: float | None = None
    """Link of the hub, each direction; None when it is no limit (all on one machine, or a fast switch)."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything a policy may know. n devices, P cut positions; `positions[p]` is the block that starts there.

    Arrays over stages have shape (n, P, P): device, position of the first block, position after the last.
    `latency_ms`, `bottleneck_ms` and `energy_j` are inf where a stage is not feasible, so that whoever minimises
    needs no other check.
    """

    card: ModelCard
    deployment: Deployment
    devices: tuple[DeviceFacts, ...]
    hub: HubFacts
    positions: Indices
    wire_bytes: Floats
    """(P,) bytes across each cut, after its codec."""
    need_bytes: Floats
    """(P, P) memory that a stage needs."""
    feasible: Flags
    """(n, P, P) fits the memory, agrees with the pins, passes the links."""
    compute_ms: Floats
    """Computing, codecs and frames at sustained load; service_ms is what of it keeps the next request waiting."""
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
    """(n, P) sending it."""
    latency_ms: Floats
    bottleneck_ms: Floats
    energy_j: Floats
    submit_ms: float
    """The submitter's own part of every request's latency: input up, answer down, its hop."""
    submit_rps: float
    """The submitter's link carries no more requests per second than this."""

    def without(self, term: Literal["memory", "pins", "link"]) -> Problem:
        """The same problem in a world with unlimited memory, no pins, or links and frames that cost nothing."""
        deployment, devices, hub = self.deployment, self.devices, self.hub
        if term == "pins":
            deployment = deployment.model_copy(update={"pins": ()})
        elif term == "memory":
            deployment = deployment.model_copy(update={"memory_limit_bytes": {}})
            devices = tuple(replace(device, memory_budget_bytes=_UNLIMITED_BYTES) for device in devices)
        else:
            devices = tuple(_with_free_link(device) for device in devices)
            hub = HubFacts(_UNLIMITED_MBPS, _UNLIMITED_MBPS)
        return _assemble(
            card=self.card,
            deployment=deployment,
            devices=devices,
            hub=hub,
            positions=self.positions,
            need_bytes=self.need_bytes,
        )

    def only(self, devices: Sequence[int]) -> Problem:
        """The same problem for some of the devices, renumbered in the order given."""
        chosen = list(devices)
        per_device = (
            "feasible compute_ms codec_ms frame_ms service_ms idle_compute_ms idle_frame_ms rtt_ms down_ms up_ms "
            "latency_ms bottleneck_ms energy_j"
        )
        arrays = {name: getattr(self, name)[chosen] for name in per_device.split()}
        return replace(self, devices=tuple(self.devices[index] for index in chosen), **arrays)

    def allowing(self, stages: Flags) -> Problem:
        """The same problem with only these stages allowed, (P, P) or (n, P, P)."""
        feasible = self.feasible & stages
        return replace(
            self,
            feasible=feasible,
            latency_ms=np.where(feasible, self.latency_ms, np.inf),
            bottleneck_ms=np.where(feasible, self.bottleneck_ms, np.inf),
            energy_j=np.where(feasible, self.energy_j, np.inf),
        )

    def budget_bytes(self, device: int) -> int:
        """Memory that a device may give: its worker's budget, or the deployment's limit if that is less."""
        return _budget_bytes(self.devices[device], self.deployment)


def problem_from(
    card: ModelCard,
    deployment: Deployment,
    devices: Sequence[DeviceFacts],
    hub: HubFacts,
    *,
    need: Need = stage_memory_bytes,
) -> Problem:
    """The planning problem from what is known now. Pure.

    Args:
        card: the model.
        deployment: what is wanted; its excluded devices are left out, its memory limits and pins applied.
        devices: every usable device, in an order that stays the same between calls (ties go to the first).
        hub: the submitter's and the hub's links.
        need: memory that a stage takes; another rule than the runtime's own is for tests.

    Raises:
        NoDeviceError: no device is given, or all are excluded.
        services.planner.pins.PinError: a pin on a device that is not there, beyond the model, or against another.
        NoLinkError: the submitter's link carries nothing.
        StaleProfileError: a profile with another number of blocks than the card.
    """
    usable = tuple(device for device in devices if device.name not in deployment.exclude)
    if not usable:
        excluded = f", all excluded: {', '.join(device.name for device in devices)}" if devices else ""
        raise NoDeviceError(
            f"no device can serve {deployment.deployment}: {len(devices)} usable{excluded}. "
            "Start one with `stageline join`, or exclude fewer"
        )
    if min(hub.submitter_up_mbps, hub.submitter_down_mbps) <= 0:
        raise NoLinkError("the submitter's link carries nothing (0 Mbit/s): check its way to the broker")
    for device in usable:
        if len(device.profile.block_ms) != len(card.blocks):
            raise StaleProfileError(
                f"{device.name} has profiled {len(device.profile.block_ms)} blocks of {card.name}, "
                f"which has {len(card.blocks)}: let it profile again"
            )
    check_pins(deployment.pins, len(card.blocks), [device.name for device in usable])
    positions = thin(card, deployment, [device.profile.block_ms for device in usable])
    return _assemble(
        card=card,
        deployment=deployment,
        devices=usable,
        hub=hub,
        positions=positions,
        need_bytes=_need_matrix(card, positions, need),
    )


def _need_matrix(card: ModelCard, positions: Indices, need: Need) -> Floats:
    matrix = np.zeros((len(positions), len(positions)))
    borders = positions.tolist()
    for i, first in enumerate(borders):
        matrix[i, i + 1 :] = [need(card, first, last) for last in borders[i + 1 :]]
    return matrix


def _budget_bytes(device: DeviceFacts, deployment: Deployment) -> int:
    return min(device.memory_budget_bytes, deployment.memory_limit_bytes.get(device.name, device.memory_budget_bytes))


def _assemble(
    *,
    card: ModelCard,
    deployment: Deployment,
    devices: tuple[DeviceFacts, ...],
    hub: HubFacts,
    positions: Indices,
    need_bytes: Floats,
) -> Problem:
    cuts = [card.cuts[position] for position in positions.tolist()]
    codecs = ["fp32", *[deployment.codec] * (len(cuts) - 2), "fp32"]
    wire = np.array([wire_bytes(cut, codec) for cut, codec in zip(cuts, codecs, strict=True)], dtype=np.float64)
    coded_mb = np.array([cut.nbytes / 1e6 if codec != "fp32" else 0 for cut, codec in zip(cuts, codecs, strict=True)])
    wire_mb = wire / 1e6

    def each(values: Sequence[float]) -> Floats:
        return np.array(values, dtype=np.float64).reshape(-1, 1, 1)

    work = np.array([[0.0, *np.cumsum(device.profile.block_ms)] for device in devices])[:, positions]
    free = each([device.free for device in devices])
    overhead = each([device.stage_overhead_ms for device in devices])
    compute = (work[:, None, :] - work[:, :, None] + overhead) / free
    per_mb = each([device.profile.frame_ms_per_mb for device in devices]) / free
    codec = per_mb * (coded_mb[:, None] + coded_mb)
    frame = each([device.profile.frame_ms for device in devices]) / free + per_mb * (wire_mb[:, None] + wire_mb)
    overlaps = each([device.info.capacity_cores for device in devices]) >= OVERLAP_CORES
    service = np.where(overlaps, np.maximum(compute + codec, frame), compute + codec + frame)
    idle_compute = _when_idle(devices, compute + codec)
    idle_frame = _when_idle(devices, compute + codec + frame) - idle_compute
    rtt = np.array([device.link.rtt_ms for device in devices])
    down = transfer_ms(wire, each([device.link.down_mbps for device in devices])[:, 0])
    up = transfer_ms(wire, each([device.link.up_mbps for device in devices])[:, 0])

    budget = each([_budget_bytes(device, deployment) for device in devices])
    packet = each([device.max_packet_bytes or _UNLIMITED_BYTES for device in devices])[:, 0]
    passes = wire + FRAME_HEADER_BYTES <= packet
    feasible = np.triu(np.ones((len(cuts), len(cuts)), dtype=np.bool_), 1) & (need_bytes <= budget)
    feasible &= allowed(deployment.pins, [device.name for device in devices], positions)
    feasible &= passes[:, :, None] & passes[:, None, :]
    moving = down[:, :, None] + up[:, None, :]
    feasible &= np.isfinite(moving)

    latency = rtt[:, None, None] + moving + idle_compute + idle_frame
    bottleneck = np.maximum(service, np.maximum(down[:, :, None], up[:, None, :]))
    busy_w = each([device.info.power.busy_w for device in devices])
    idle_w = each([device.info.power.idle_w for device in devices])
    energy = (busy_w * (compute + codec + frame) + idle_w * np.where(np.isfinite(moving), moving, 0.0)) / 1e3
    sent = float(transfer_ms(wire[:1], hub.submitter_up_mbps)[0])
    answered = float(transfer_ms(wire[-1:], hub.submitter_down_mbps)[0])
    return Problem(
        card=card,
        deployment=deployment,
        devices=devices,
        hub=hub,
        positions=positions,
        wire_bytes=wire,
        need_bytes=need_bytes,
        feasible=feasible,
        compute_ms=compute,
        codec_ms=codec,
        frame_ms=frame,
        service_ms=service,
        idle_compute_ms=idle_compute,
        idle_frame_ms=idle_frame,
        rtt_ms=rtt,
        down_ms=down,
        up_ms=up,
        latency_ms=np.where(feasible, latency, np.inf),
        bottleneck_ms=np.where(feasible, bottleneck, np.inf),
        energy_j=np.where(feasible, energy, np.inf),
        submit_ms=hub.hop_ms + sent + answered,
        submit_rps=1e3 / max(sent, answered, 1e-9),
    )


def _when_idle(devices: tuple[DeviceFacts, ...], sustained_ms: Floats) -> Floats:
    """What work that takes `sustained_ms` (n, P, P) at sustained load takes a device that has been idle, ms.

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


def transfer_ms(nbytes: Floats, mbps: Floats | float) -> Floats:
    """Time of `nbytes` at `mbps` (10^6 bits per second), ms; inf over a link that carries nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ms: Floats = np.where(nbytes > 0, nbytes * 8 / (np.asarray(mbps) * 1e3), 0.0)
    return ms


def _with_free_link(device: DeviceFacts) -> DeviceFacts:
    link = device.link.model_copy(update={"rtt_ms": 0.0, "up_mbps": _UNLIMITED_MBPS, "down_mbps": _UNLIMITED_MBPS})
    profile = device.profile.model_copy(update={"frame_ms": 0.0, "frame_ms_per_mb": 0.0})
    return replace(device, link=link, profile=profile, max_packet_bytes=0)
