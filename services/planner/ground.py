"""What a plan is made from: who may serve, what they measured, and what each may give to this deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.device import Profile
from schemas.model import ModelCard
from services.planner.device import Device
from services.planner.exit_shares import NO_SHARES, ExitShares
from services.planner.facts import DeviceFacts
from services.planner.held import Held
from services.planner.rows_known import RowsKnown
from services.planner.sharing import held_bytes
from services.planner.usable import NoDeviceError


@dataclass(frozen=True, slots=True)
class Ground:
    """What a plan is made from: measured devices, and why others were left out."""

    card: ModelCard
    facts: tuple[DeviceFacts, ...]
    left_out: Mapping[str, str]
    held: Held = field(default_factory=dict)
    """Blocks that devices have already."""
    shares: ExitShares = NO_SHARES
    """How many requests were seen to leave at exits."""
    rows: RowsKnown | None = None
    """How the model's rows may be shared; None where they cannot be, or are not wanted to be."""


def facts_of(
    device: Device, profile: Profile, deployment: str, *, time_share: float = 1.0, memory_bytes: int | None = None
) -> DeviceFacts:
    """One device as the cost model wants it, at the capacity that it has now.

    Args:
        device: fully known.
        profile: what it measured of the model.
        deployment: for which.
        time_share: what other deployments leave of its time (`services.planner.sharing`).
        memory_bytes: what they leave of its memory; unless given, what they do not hold.

    Raises:
        NoDeviceError: something is not known of it.
    """
    if device.info is None or device.link is None or device.worker is None:
        raise NoDeviceError(f"{device.name} cannot be planned with: {device.absence}")
    if memory_bytes is None:
        held = held_bytes(device.worker.stages, deployment)
        memory_bytes = max(0, device.worker.memory_budget_bytes - sum(held.values()))
    facts = DeviceFacts(
        info=device.info,
        profile=profile,
        link=device.link,
        memory_budget_bytes=memory_bytes,
        free_share=time_share,
        stage_overhead_ms=profile.stage_overhead_ms,
        max_packet_bytes=device.worker.max_packet_bytes,
    )
    return facts.at_capacity(device.capacity_cores)
