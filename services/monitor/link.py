"""How far away the broker is: round trip, up-link and down-link, without synchronised clocks.

Round trip: a small message to ourselves through the broker. Up-link: the time until the broker acknowledges a large
message (QoS 1), less that of a small one. Down-link: the round trip of a large message, less its way up and the small
one's round trip. While the up-link is measured nobody listens: a broker may write the echo in front of the
acknowledgement, and the way down would be counted as way up.

The probes share the network with the frames: while many flow, a probe sees what is left of the link, which is what a
planner wants to know of the link, and not its size.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from statistics import median
from typing import Final

from broker.bus import Bus
from broker.connection import BusError
from broker.delivery import RawDelivery
from schemas.device import LinkMeasure
from schemas.topics import ECHO_TEMPLATE

logger = logging.getLogger(__name__)

SLOWEST_MBPS: Final = 0.01
FASTEST_MBPS: Final = 20_000.0
"""Results are kept between these: noise can make a difference of times zero or negative, and nothing is infinite."""
SMALLEST_PROBE_BYTES: Final = 8 << 10
FIRST_PROBE_BYTES: Final = 64 << 10
LARGEST_PROBE_BYTES: Final = 1 << 20
_LONG_ENOUGH_S: Final = 0.02
"""A probe that takes this long stands out of the noise of a busy small computer."""
_TOO_LONG_S: Final = 0.2
_SMALL_BYTES: Final = 64
_TOKEN_BYTES: Final = 16
_SMALL_ROUNDS: Final = 7
_LARGE_ROUNDS: Final = 3
_EARLY_PAUSES_S: Final = (2.0, 5.0)
"""The first probe falls into the bustle of starting; two more soon after it settle the median."""
_AFTER_FAILURE_S: Final = 5.0
_GIVE_UP_S: Final = 30.0
_REMEMBERED: Final = 3


@dataclass(frozen=True, slots=True)
class Times:
    """Raw times of one probe, s."""

    small_acks: list[float]
    large_acks: list[float]
    small_echoes: list[float]
    large_echoes: list[float]
    probe_bytes: int


@dataclass(frozen=True, slots=True)
class Link:
    """What one probe says."""

    rtt_ms: float
    up_mbps: float
    down_mbps: float
    probe_bytes: int


def estimate(times: Times) -> Link:
    """The method of the module's first paragraph, on medians.

    On a busy device noise can swallow one of the two differences. Then that direction is taken to be like the other,
    as most links are: a slow link that looks infinitely fast one way would be given work that it cannot carry.
    """
    rtt = median(times.small_echoes)
    up = median(times.large_acks) - median(times.small_acks)
    down = median(times.large_echoes) - max(0.0, up) - rtt
    least = times.probe_bytes * 8e-6 / FASTEST_MBPS
    if up < least < down:
        up = down
    elif down < least < up:
        down = up
    return Link(rtt * 1e3, _mbps(times.probe_bytes, up), _mbps(times.probe_bytes, down), times.probe_bytes)


def _mbps(nbytes: int, seconds: float) -> float:
    megabits = nbytes * 8e-6
    return min(FASTEST_MBPS, max(SLOWEST_MBPS, megabits / max(seconds, megabits / FASTEST_MBPS)))


def settle(recent: list[Link]) -> Link:
    """Medians over the last few probes, so that one that met a burst of frames changes little."""
    return Link(
        median(link.rtt_ms for link in recent),
        median(link.up_mbps for link in recent),
        median(link.down_mbps for link in recent),
        recent[-1].probe_bytes,
    )


def resize(probe_bytes: int, took_s: float, most_bytes: int) -> int:
    """The next probe's size: four times as large when this one was too quick to tell, a quarter when too slow."""
    if took_s < _LONG_ENOUGH_S:
        return min(probe_bytes * 4, most_bytes)
    if took_s > _TOO_LONG_S:
        return min(max(probe_bytes // 4, SMALLEST_PROBE_BYTES), most_bytes)
    return min(probe_bytes, most_bytes)


class LinkProbe:
    """Measures over connections of its own, so that it delays neither control messages nor frames."""

    def __init__(self, bus: Bus, *, device: str, period_s: float) -> None:
        self._bus = bus
        self._address = ECHO_TEMPLATE.format(device=device)
        self._period_s = period_s
        self._probe_bytes = FIRST_PROBE_BYTES
        self._padding = b""
        self._recent: deque[Link] = deque(maxlen=_REMEMBERED)
        self._measured_at = 0.0
        self.known = asyncio.Event()
        """Set as soon as there is a first measurement."""

    def latest(self) -> LinkMeasure | None:
        """What is known now and how old it is; None before the first probe."""
        if not self._recent:
            return None
        link = settle(list(self._recent))
        return LinkMeasure(
            rtt_ms=round(link.rtt_ms, 3),
            up_mbps=round(link.up_mbps, 3),
            down_mbps=round(link.down_mbps, 3),
            probe_bytes=link.probe_bytes,
            age_s=round(time.monotonic() - self._measured_at, 1),
        )

    async def keep_measuring(self) -> None:
        """One loop of the monitor: at once, twice more soon, then every `period_s` or so.

        A probe that fails is logged and tried again next time; what was known before grows old.
        """
        pauses = iter(_EARLY_PAUSES_S)
        while True:
            pause = self._period_s
            try:
                async with asyncio.timeout(_GIVE_UP_S):
                    await self.measure()
                pause = next(pauses, pause)
            except (BusError, TimeoutError) as error:
                pause = _AFTER_FAILURE_S
                logger.warning("the link could not be measured: %s", str(error) or "the probe took too long")
                self._probe_bytes = max(self._probe_bytes // 4, SMALLEST_PROBE_BYTES)
            # Devices that were switched on together must not go on probing together.
            await asyncio.sleep(min(pause, self._period_s) * random.uniform(0.8, 1.2))  # noqa: S311  no secret

    async def measure(self) -> None:
        """One probe.

        Raises:
            BusError: the broker cannot be reached or refuses.
        """
        if not self._padding:
            # Random, so that no compression on the way makes the link look faster than it is.
            self._padding = os.urandom(LARGEST_PROBE_BYTES)
        async with self._bus.bulk() as own:
            link = estimate(await self._time(own))
        self._recent.append(link)
        self._measured_at = time.monotonic()
        self.known.set()
        logger.debug("link measured", extra={"rtt_ms": link.rtt_ms, "up": link.up_mbps, "down": link.down_mbps})

    async def _time(self, bus: Bus) -> Times:
        small_acks = [await bus.publish_bytes(self._address, self._payload(_SMALL_BYTES)) for _ in range(_SMALL_ROUNDS)]
        most_bytes = min(LARGEST_PROBE_BYTES, bus.max_packet_bytes - 1024)
        nbytes = min(self._probe_bytes, most_bytes)
        while True:
            first = await bus.publish_bytes(self._address, self._payload(nbytes))
            larger = resize(nbytes, first, most_bytes)
            if larger <= nbytes:
                break
            nbytes = larger
        self._probe_bytes = larger
        rounds = _LARGE_ROUNDS if first < _TOO_LONG_S else 1
        more = [await bus.publish_bytes(self._address, self._payload(nbytes)) for _ in range(rounds - 1)]
        async with bus.subscribe_bytes(self._address) as echoes:
            small = [await self._echo(bus, echoes, _SMALL_BYTES) for _ in range(_SMALL_ROUNDS)]
            large = [await self._echo(bus, echoes, nbytes) for _ in range(rounds)]
        return Times(small_acks, [first, *more], small, large, nbytes)

    async def _echo(self, bus: Bus, echoes: AsyncIterator[RawDelivery], nbytes: int) -> float:
        payload = self._payload(nbytes)
        started = time.monotonic()
        await bus.publish_bytes(self._address, payload)
        async for echo in echoes:
            if echo.payload[:_TOKEN_BYTES] == payload[:_TOKEN_BYTES]:
                return echo.received_at - started
        raise TimeoutError("the echo never came")

    def _payload(self, nbytes: int) -> bytes:
        return os.urandom(_TOKEN_BYTES) + self._padding[: nbytes - _TOKEN_BYTES]
