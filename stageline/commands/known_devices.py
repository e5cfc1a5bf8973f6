"""Names of devices that people type: one that nobody has heard of is a mistake, not a wish."""

from __future__ import annotations

from collections.abc import Iterable

from broker.bus import Bus
from services.planner.fleet import read_fleet
from stageline.commands.conduct import MendError


async def check_known(bus: Bus, devices: Iterable[str]) -> None:
    """Refuse a device that is not on the broker, offline or not.

    Raises:
        MendError: lists those there are.
    """
    known = (await read_fleet(bus)).devices
    for device in devices:
        if device not in known:
            have = f"devices there are: {', '.join(sorted(known))}" if known else "no device has joined"
            raise MendError(f"nobody has heard of a device {device!r}: {have}")
