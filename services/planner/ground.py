"""What a plan is made from: who may serve, what they measured, and what each device may give to this deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.device import Profile
from schemas.model import ModelCard
from services.planner.cost import NoDeviceError
from services.planner.device import Device
from services.planner.facts import DeviceFacts


@dataclass(frozen=True, slots=True)
class Ground:
    """What a plan is made from: measured devices, and why others were left out."""

    card: ModelCard
    devices: Mapping[str, tuple[Device, Profile]]
    left_out: Mapping[str, str]


def facts_of(device: Device, profile: Profile, deployment: str) -> DeviceFacts:
    """One device as the cost model wants it; stages of other deployments keep their memory."""
    if device.info is None or device.link is None or device.worker is None:
        raise NoDeviceError(f"{device.name} cannot be planned with: {device.absence}")
    others = {
        (stage.card_sha, stage.first, stage.last): stage.memory_bytes
        for stage in device.worker.stages
        if stage.deployment != deployment and stage.state in ("loading", "ready")
    }
    return DeviceFacts(
        info=device.info,
        profile=profile,
        link=device.link,
        memory_budget_bytes=max(0, device.worker.memory_budget_bytes - sum(others.values())),
        stage_overhead_ms=profile.stage_overhead_ms,
        max_packet_bytes=device.worker.max_packet_bytes,
    )
