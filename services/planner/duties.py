"""What people want of devices outlives a broker that forgets: the planner says it again."""

from __future__ import annotations

from broker.bus import Bus
from schemas.topics import DEVICE_DUTY
from services.planner.watch import FleetWatch


async def remind(bus: Bus, watch: FleetWatch) -> None:
    """After a reconnect: duties that the broker forgot in a restart are ours to publish again.

    One that was taken back in those moments comes back too; that is better than a drained device that serves again.
    """
    there = {kept.parameters["device"] for kept in await bus.snapshot(DEVICE_DUTY)}
    for name, device in watch.fleet.devices.items():
        if device.duty is not None and name not in there:
            await bus.publish(DEVICE_DUTY, device.duty, remember=False, device=name)
