"""How the device is doing now, gathered from all readers and published once a period."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Mapping

from broker.bus import Bus
from broker.errors import BrokerUnreachableError
from schemas.device import Telemetry
from schemas.topics import DEVICE_TELEMETRY
from services.capacity import Capacity
from services.monitor.load import LoadMeter
from services.monitor.power.meter import PowerMeter
from services.monitor.probe import LinkProbe
from services.monitor.temperature import Thermometer
from services.monitor.throttling import ThrottlingReader


class OwnCpu:
    """Share of one core that this process uses, from one `read` to the next."""

    def __init__(self) -> None:
        self._before = (time.monotonic(), time.process_time())

    def read(self) -> float:
        """Share of one core since the last call."""
        now = (time.monotonic(), time.process_time())
        (old_wall, old_cpu), self._before = self._before, now
        return (now[1] - old_cpu) / max(now[0] - old_wall, 1e-3)


class Observer:
    """Reads everything once per message."""

    def __init__(
        self, *, device: str, boot_id: str, size: Callable[[], Capacity], power: PowerMeter, link: LinkProbe
    ) -> None:
        self._device = device
        self._boot_id = boot_id
        self._size = size
        self._power = power
        self._link = link
        self._load = LoadMeter()
        self._thermometer = Thermometer()
        self._throttling = ThrottlingReader()
        self._own_cpu = OwnCpu()

    async def observe(self, sequence: int, rejected: Mapping[str, int]) -> Telemetry:
        """The device now.

        Args:
            sequence: number of this message in this life of the monitor.
            rejected: messages dropped at the edge of the bus so far, by reason.
        """
        size = self._size()
        load = self._load.read()
        return Telemetry(
            device=self._device,
            boot_id=self._boot_id,
            sequence=sequence,
            unix_time=round(time.time(), 3),
            load=round(load, 4),
            capacity_cores=size.capacity_cores,
            memory_free_bytes=size.memory_free_bytes,
            memory_bytes=size.memory_bytes,
            temperature_c=self._thermometer.read(),
            throttling=await self._throttling.read(),
            power=await self._power.read(load, size),
            link=self._link.latest(),
            monitor_cpu=round(self._own_cpu.read(), 4),
            rejected=dict(rejected),
        )


async def keep_publishing(bus: Bus, observer: Observer, link: LinkProbe, period_s: float) -> None:
    """Publish `DEVICE_TELEMETRY` every `period_s`.

    The first message waits a moment for the first link measurement, since a planner can do nothing without it. A link
    that was asked for, or has changed, is told at once.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(period_s):
            await link.known.wait()
    loop = asyncio.get_running_loop()
    due = loop.time()
    for sequence in itertools.count():
        if bus.connected:  # how it was during an outage is of no use to anybody afterwards
            message = await observer.observe(sequence, bus.rejected)
            with contextlib.suppress(BrokerUnreachableError):
                await bus.publish(DEVICE_TELEMETRY, message, timeout_s=period_s, device=message.device)
        due = max(due + period_s, loop.time())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await link.news.wait()
                due = loop.time()
        link.news.clear()
