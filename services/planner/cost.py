"""What every possible stage would cost, as arrays: the whole planning problem as numbers.

One stage `[first, last)` on one device costs, in ms,

    rtt + down(bytes in) + frame + compute + codec + up(bytes out)

so a route's latency is a sum over its stages and its pace is set by the slowest of their bottlenecks
`max(service, down, up)`. Every term depends on (device, first, last) alone, which is what makes exact planning by
subset dynamic programming possible (`services.planner.policies.exact`).

Where some requests leave early, all are expected values over all requests (`services.planner.survival`).

What goes into them is `services.planner.stage_times`; beyond times there is

    energy   busy_w while computing and handling frames, idle_w while bytes are on the wire. Devices that a plan
             does not use, and the hub, are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from models.runtime import stage_memory_bytes
from schemas.deployment import Deployment
from schemas.model import ModelCard
from schemas.plan import ExitRule
from services.planner.cuts import thin, wire_bytes
from services.planner.exit_rules import allowed_rules
from services.planner.facts import UNLIMITED_BYTES, DeviceFacts, HubFacts
from services.planner.pins import allowed, check_pins
from services.planner.rows_known import RowsKnown
from services.planner.stage_times import StageTimes, per_device, stage_times, transfer_ms
from services.planner.survival import survival
from services.planner.usable import usable_devices

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]
Need = Callable[[ModelCard, int, int], int]
"""Memory in bytes that blocks `[first, last)` of a card need (`models.runtime.stage_memory_bytes`)."""

FRAME_HEADER_BYTES: Final = 16 << 10
"""Kept free below a broker's packet limit for the frame's header."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem(StageTimes):
    """Everything a policy may know. n devices, P cut positions; `positions[p]` is the block that starts there.

    Arrays over stages have shape (n, P, P): device, position of the first block, position after the last.
    `latency_ms`, `bottleneck_ms` and `energy_j` are inf where a stage is not feasible, so that whoever minimises
    needs no other check.
    """

    card: ModelCard
    deployment: Deployment
    devices: tuple[DeviceFacts, ...]
    hub: HubFacts
    rows: RowsKnown | None = None
    """How the model's rows may be shared; None where nobody knows."""
    positions: Indices
    wire_bytes: Floats
    """(P,) bytes across each cut, after its codec, of a request that crosses it."""
    exits: tuple[ExitRule, ...] = ()
    """Open, with the share of all requests that is expected to leave at each."""
    reach: Floats
    """(P,) share of all requests that crosses each cut; of the last, that comes to the end."""
    crossing_bytes: Floats
    """(P,) bytes per request: at the last position, every answer, wherever it was made."""
    need_bytes: Floats
    """(P, P) memory that a stage needs."""
    feasible: Flags
    """(n, P, P) fits the memory, agrees with the pins, passes the links."""
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
            devices = tuple(device.with_unlimited_memory() for device in devices)
        else:
            devices = tuple(device.with_free_link() for device in devices)
            hub = HubFacts.free()
        return _assemble(
            card=self.card,
            deployment=deployment,
            devices=devices,
            hub=hub,
            positions=self.positions,
            need_bytes=self.need_bytes,
            exits=self.exits,
            rows=self.rows,
        )

    def only(self, devices: Sequence[int]) -> Problem:
        """The same problem for some of the devices, renumbered in the order given."""
        chosen = list(devices)
        names = [field.name for field in fields(StageTimes)] + ["feasible", "latency_ms", "bottleneck_ms", "energy_j"]
        arrays = {name: getattr(self, name)[chosen] for name in names}
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
        return self.devices[device].budget_bytes(self.deployment)


def problem_from(
    card: ModelCard,
    deployment: Deployment,
    devices: Sequence[DeviceFacts],
    hub: HubFacts,
    *,
    need: Need | None = None,
    keep: Iterable[int] = (),
    exits: Sequence[ExitRule] | None = None,
    rows: RowsKnown | None = None,
) -> Problem:
    """The planning problem from what is known now. Pure.

    Args:
        card: the model.
        deployment: what is wanted; its excluded devices are left out, its memory limits and pins applied.
        devices: every usable device, in an order that stays the same between calls (ties go to the first); those whose
            figures are `DeviceFacts.beyond` anything real are left out, too.
        hub: the submitter's and the hub's links.
        need: memory that a stage takes, if by another rule than the runtime's own (tests).
        keep: cut positions that are not thinned out: of a plan that is to be compared with the best.
        exits: that are open; those that let most leave of what the wish allows, as calibrated, unless given.
        rows: how the model's rows may be shared among devices; without it they are not.

    Raises:
        services.planner.exit_rules.ExitWishError: what is wished of exits cannot be had of this model.
        services.planner.usable.NoDeviceError: no device is given, or all are excluded.
        services.planner.pins.PinError: a pin on a device that is not there, beyond the model, or against another.
        services.planner.usable.NoLinkError: the submitter's link carries nothing.
        services.planner.usable.StaleProfileError: a profile with another number of blocks than the card.
    """
    usable = usable_devices(card, deployment, devices, hub)
    check_pins(deployment.pins, len(card.blocks), [device.name for device in usable])
    rules = tuple(exits) if exits is not None else allowed_rules(card, deployment)[-1]
    usual = partial(stage_memory_bytes, exits=[one.name for one in rules])
    positions = thin(card, deployment, [device.profile.block_ms for device in usable], keep)
    return _assemble(
        card=card,
        deployment=deployment,
        devices=usable,
        hub=hub,
        positions=positions,
        need_bytes=_need_matrix(card, positions, need or usual),
        exits=rules,
        rows=rows,
    )


def _need_matrix(card: ModelCard, positions: Indices, need: Need) -> Floats:
    matrix = np.zeros((len(positions), len(positions)))
    borders = positions.tolist()
    for i, first in enumerate(borders):
        matrix[i, i + 1 :] = [need(card, first, last) for last in borders[i + 1 :]]
    return matrix


def _assemble(
    *,
    card: ModelCard,
    deployment: Deployment,
    devices: tuple[DeviceFacts, ...],
    hub: HubFacts,
    positions: Indices,
    need_bytes: Floats,
    exits: tuple[ExitRule, ...],
    rows: RowsKnown | None,
) -> Problem:
    cuts = [card.cuts[position] for position in positions.tolist()]
    codecs = ["fp32", *[deployment.codec] * (len(cuts) - 2), "fp32"]
    wire = np.array([wire_bytes(cut, codec) for cut, codec in zip(cuts, codecs, strict=True)], dtype=np.float64)
    coded = np.array([cut.nbytes if codec != "fp32" else 0 for cut, codec in zip(cuts, codecs, strict=True)])
    surviving = survival(card, exits)
    times = stage_times(devices, positions, wire, coded, surviving)
    reach = surviving.crossing[positions]

    budget = per_device([device.budget_bytes(deployment) for device in devices])
    packet = per_device([device.max_packet_bytes or UNLIMITED_BYTES for device in devices])[:, 0]
    passes = wire + FRAME_HEADER_BYTES <= packet
    down, up = times.down_ms[:, :, None], times.up_ms[:, None, :] + times.exits_up_ms
    moving = down + up
    feasible = np.triu(np.ones((len(cuts), len(cuts)), dtype=np.bool_), 1) & (need_bytes <= budget)
    feasible &= allowed(deployment.pins, [device.name for device in devices], positions)
    feasible &= passes[:, :, None] & passes[:, None, :]
    feasible &= np.isfinite(moving)

    latency = times.rtt_ms[:, None, None] * reach[:, None] + moving + times.idle_compute_ms + times.idle_frame_ms
    bottleneck = np.maximum(times.service_ms, np.maximum(down, up))
    busy_ms = times.compute_ms + times.codec_ms + times.frame_ms
    busy_w = per_device([device.info.power.busy_w for device in devices])
    idle_w = per_device([device.info.power.idle_w for device in devices])
    energy = (busy_w * busy_ms + idle_w * np.where(np.isfinite(moving), moving, 0.0)) / 1e3
    sent = float(transfer_ms(wire[:1], hub.submitter_up_mbps)[0])
    answered = float(transfer_ms(wire[-1:], hub.submitter_down_mbps)[0])
    return Problem(
        **vars(times),
        card=card,
        deployment=deployment,
        devices=devices,
        hub=hub,
        rows=rows,
        positions=positions,
        wire_bytes=wire,
        exits=exits,
        reach=reach,
        crossing_bytes=np.append(reach[:-1] * wire[:-1], wire[-1]),
        need_bytes=need_bytes,
        feasible=feasible,
        latency_ms=np.where(feasible, latency, np.inf),
        bottleneck_ms=np.where(feasible, bottleneck, np.inf),
        energy_j=np.where(feasible, energy, np.inf),
        submit_ms=hub.hop_ms + sent + answered,
        submit_rps=1e3 / max(sent, answered, 1e-9),
    )
