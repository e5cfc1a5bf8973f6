"""Block times that devices measured in this run, for the next experiment with the same devices.

Measuring a model takes an emulated device longer than anything else here. A hub whose broker keeps retained messages
never asks twice: profiles outlive its workers. Testbeds end with their broker, so what it retained is published again
when the same fleet comes up next; the planner checks it as always (card, backend, threads, capacity).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from broker.bus import Bus
from schemas.device import Profile
from schemas.topics import DEVICE_PROFILE


@dataclass(frozen=True)
class Profiles:
    """By fleet, device and model."""

    known: dict[tuple[str, str, str], Profile] = field(default_factory=dict)

    async def remember(self, bus: Bus, fleet: str) -> None:
        """Keep what the broker retains."""
        for delivery in await bus.snapshot(DEVICE_PROFILE):
            profile = delivery.message
            self.known[fleet, profile.device, profile.model] = profile

    async def recall(self, bus: Bus, fleet: str) -> None:
        """Have the broker retain what is known of a fleet's devices."""
        for (whose, device, model), profile in self.known.items():
            if whose == fleet:
                await bus.publish(DEVICE_PROFILE, profile, device=device, model=model)


MEASURED: Final = Profiles()
"""Of this process: figures of another day, or another machine, are never used."""
