"""What a power sensor is to the rest of the monitor."""

from __future__ import annotations

from typing import Protocol


class PowerSensor(Protocol):
    """Something that measures. Finding out whether a device has one is each sensor's own `find`."""

    @property
    def source(self) -> str:
        """What is measured and by what, for people: it goes into every power figure."""

    async def watts(self) -> float | None:
        """Watts now, or None when there is no figure at the moment (never a 0 that nobody measured)."""
