"""Follows what this device's own monitor says about its power, so that traces can tell joules."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from broker.bus import Bus
from schemas.device import Power, PowerModel
from schemas.topics import DEVICE_INFO, DEVICE_TELEMETRY
from services.worker.energy import Watts, watts_now


class PowerFollower:
    """Calls `tell` with the best figure whenever it may have changed."""

    def __init__(self, bus: Bus, device: str, tell: Callable[[Watts], None]) -> None:
        self._bus = bus
        self._device = device
        self._tell = tell
        self._model: PowerModel | None = None
        self._reading: Power | None = None

    async def follow(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._follow_info(), name="device info")
            loops.create_task(self._follow_telemetry(), name="device telemetry")

    async def _follow_info(self) -> None:
        async with self._bus.subscribe(DEVICE_INFO, device=self._device) as infos:
            async for delivery in infos:
                self._model = delivery.message.power
                self._tell(watts_now(self._model, self._reading))

    async def _follow_telemetry(self) -> None:
        async with self._bus.subscribe(DEVICE_TELEMETRY, device=self._device) as readings:
            async for delivery in readings:
                self._reading = delivery.message.power
                self._tell(watts_now(self._model, self._reading))
