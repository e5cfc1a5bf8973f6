"""What a plan is made from: the devices and links, as they are known now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from schemas.deployment import Deployment
from schemas.device import DeviceInfo, LinkMeasure, Profile

FREE_SHARE_MIN: Final = 0.05
"""A device that looks fully busy still gets its turn: never predict worse than 20 times the profile."""
UNLIMITED_BYTES: Final = 1 << 53
_UNLIMITED_MBPS: Final = 1e12
BEYOND_MS: Final = 1e9
BEYOND_J: Final = 1e9
"""A whole model takes no device so long, and so much, by far: more is a mistake or a lie."""
BEYOND_MBPS: Final = 1e-6
"""A link that carries less, and not nothing, likewise."""


@dataclass(frozen=True)
class DeviceFacts:
    """One usable device, as the planner knows it now."""

    info: DeviceInfo
    profile: Profile
    link: LinkMeasure
    memory_budget_bytes: int
    """What its worker will give to stages of this deployment."""
    free_share: float = 1.0
    """Share of the capacity that other work, heat and other deployments leave, 0..1 (`services.planner.condition`)."""
    correction: float = 1.0
    """What stages really take, relative to their profile (`services.planner.corrections`)."""
    capacity_scale: float = 1.0
    """How many times longer blocks take than when the profile was measured, because the capacity in `info` is another
    one now; `at_capacity` sets both,"""
    frame_scale: float = 1.0
    """and the same of frames."""
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

    @property
    def slowdown(self) -> float:
        """How many times longer blocks take than the profile says."""
        return self.capacity_scale * self.correction / self.free

    @property
    def frame_slowdown(self) -> float:
        """The same of frames and codecs; that a model's blocks take longer is no reason for it."""
        return self.frame_scale / self.free

    @property
    def beyond(self) -> str:
        """Why it is not planned with: what it says of itself is beyond anything real; empty when it is not.

        Each figure is within its own bounds. All of them together are not, and no prediction could tell them.
        """
        profile, link = self.profile, self.link
        blocks_ms = (sum(profile.block_ms) + self.stage_overhead_ms) * self.slowdown
        whole_ms = blocks_ms + (profile.frame_ms + profile.frame_ms_per_mb) * self.frame_slowdown
        whole_j = whole_ms * max(self.info.power.busy_w, self.info.power.idle_w) / 1e3
        if whole_ms > BEYOND_MS:
            return f"it says that {profile.model} takes it {whole_ms:.0e} ms: let it measure again"
        if whole_j > BEYOND_J:
            return f"it says that {profile.model} takes it {whole_j:.0e} J: check the power that its monitor tells"
        if 0 < min(link.up_mbps, link.down_mbps) < BEYOND_MBPS:
            return f"it says that its link carries {min(link.up_mbps, link.down_mbps):.0e} Mbit/s: check its network"
        return ""

    def at_capacity(self, cores: float) -> DeviceFacts:
        """The same device when it may use so many cores: exact, as quotas are, so nobody has to measure again.

        Its worker goes on with the threads it has, and frames are handled by one.
        """
        measured = self.profile.capacity_cores
        threads = float(self.profile.threads)
        return replace(
            self,
            info=self.info.model_copy(update={"capacity_cores": cores}),
            capacity_scale=min(threads, measured) / min(threads, cores),
            frame_scale=min(1.0, measured) / min(1.0, cores),
        )

    def budget_bytes(self, deployment: Deployment) -> int:
        """Memory it may give: its worker's budget, or the deployment's limit if that is less."""
        return min(self.memory_budget_bytes, deployment.memory_limit_bytes.get(self.name, self.memory_budget_bytes))

    def with_unlimited_memory(self) -> DeviceFacts:
        """The same device if memory were no constraint."""
        return replace(self, memory_budget_bytes=UNLIMITED_BYTES)

    def with_free_link(self) -> DeviceFacts:
        """The same device if links and frames cost nothing."""
        link = self.link.model_copy(update={"rtt_ms": 0.0, "up_mbps": _UNLIMITED_MBPS, "down_mbps": _UNLIMITED_MBPS})
        profile = self.profile.model_copy(update={"frame_ms": 0.0, "frame_ms_per_mb": 0.0})
        return replace(self, link=link, profile=profile, max_packet_bytes=0)


@dataclass(frozen=True)
class HubFacts:
    """What all routes share: the submitter's way to the broker, and the hub's own link."""

    submitter_up_mbps: float = 1000.0
    submitter_down_mbps: float = 1000.0
    hop_ms: float = 0.0
    """Round trip submitter -> broker -> submitter of a small message."""
    hub_mbps: float | None = None
    """Link of the hub, each direction; None when it is no limit (all on one machine, or a fast switch)."""

    @classmethod
    def free(cls) -> HubFacts:
        """Links that cost nothing."""
        return cls(_UNLIMITED_MBPS, _UNLIMITED_MBPS)
