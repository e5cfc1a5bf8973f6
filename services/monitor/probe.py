"""Measures how far away the broker is: round trip, up-link and down-link, without synchronised clocks.

Round trip: a small message to ourselves through the broker. Up-link: the time until the broker acknowledges a large
message (QoS 1), less that of a small one. Down-link: the round trip of a large message, less its way up and the small
one's round trip. While the up-link is measured nobody listens: a broker may write the echo in front of the
acknowledgement, and the way down would be counted as way up.

It probes now and then, and at once when the planner suspects the link (`Command`); a probe that contradicts what was
known is repeated at once, so that a change is believed within seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import AsyncIterator
from typing import Final

from broker.bus import Bus
from broker.delivery import RawDelivery
from broker.errors import BusError
from schemas.device import LinkMeasure
from schemas.topics import DEVICE_COMMAND, ECHO_TEMPLATE
from services.monitor.link import (
    SMALLEST_PROBE_BYTES,
    TOO_LONG_S,
    Link,
    Times,
    differs,
    estimate,
    remember,
    resize,
    settle,
)

logger = logging.getLogger(__name__)

FIRST_PROBE_BYTES: Final = 64 << 10
LARGEST_PROBE_BYTES: Final = 1 << 20
_SMALL_BYTES: Final = 64
_TOKEN_BYTES: Final = 16
_SMALL_ROUNDS: Final = 7
_LARGE_ROUNDS: Final = 3
_SMALL_ROUNDS_QUICK: Final = 3
_LARGE_ROUNDS_QUICK: Final = 2
_EARLY_PAUSES_S: Final = (2.0, 5.0)
"""The first probe falls into the bustle of starting; two more soon after it settle the median."""
_AFTER_FAILURE_S: Final = 5.0
_GIVE_UP_S: Final = 30.0


class LinkProbe:
    """Measures over connections of its own, so that it delays neither control messages nor frames."""

    def __init__(self, bus: Bus, *, device: str, period_s: float) -> None:
        self._bus = bus
        self._address = ECHO_TEMPLATE.format(device=device)
        self._period_s = period_s
        self._probe_bytes = FIRST_PROBE_BYTES
        self._padding = b""
        self._recent: tuple[Link, ...] = ()
        self._measured_at = 0.0
        self._asked = asyncio.Event()
        self.known = asyncio.Event()
        """Set as soon as there is a first measurement."""
        self.news = asyncio.Event()
        """Set when one was asked for, or has found the link changed: worth telling at once."""

    def latest(self) -> LinkMeasure | None:
        """What is known now and how old it is; None before the first probe."""
        if not self._recent:
            return None
        link = settle(self._recent)
        return LinkMeasure(
            rtt_ms=round(link.rtt_ms, 3),
            up_mbps=round(link.up_mbps, 3),
            down_mbps=round(link.down_mbps, 3),
            probe_bytes=link.probe_bytes,
            age_s=round(time.monotonic() - self._measured_at, 1),
        )

    def ask(self) -> None:
        """Have it measured at once: what is known may be true no longer."""
        self._asked.set()

    async def keep_measuring(self) -> None:
        """One loop of the monitor: at once, twice more soon, then every `period_s` or so, and when asked.

        A probe that fails is logged and tried again next time; what was known before grows old.
        """
        pauses = iter(_EARLY_PAUSES_S)
        while True:
            pause = self._period_s
            try:
                async with asyncio.timeout(_GIVE_UP_S):
                    if await self.measure():
                        pauses = iter(_EARLY_PAUSES_S)
                pause = next(pauses, pause)
            except (BusError, TimeoutError) as error:
                pause = _AFTER_FAILURE_S
                logger.warning("the link could not be measured: %s", str(error) or "the probe took too long")
                self._probe_bytes = max(self._probe_bytes // 4, SMALLEST_PROBE_BYTES)
            # Devices that were switched on together must not go on probing together.
            await self._rest(min(pause, self._period_s) * random.uniform(0.8, 1.2))  # noqa: S311  no secret

    async def follow_commands(self) -> None:
        """One loop of the monitor: probe when the planner asks."""
        device = self._address.split("/")[1]
        async with self._bus.subscribe(DEVICE_COMMAND, device=device) as commands:
            async for delivery in commands:
                if delivery.message.kind == "probe":
                    logger.info("asked to measure the link")
                    self.ask()

    async def measure(self) -> bool:
        """One probe, and another at once where it contradicts what was known. Says whether the link has changed.

        Raises:
            BusError: the broker cannot be reached or refuses.
        """
        if not self._padding:
            # Random, so that no compression on the way makes the link look faster than it is.
            self._padding = os.urandom(LARGEST_PROBE_BYTES)
        asked = self._asked.is_set()
        self._asked.clear()
        before = self._recent
        async with self._bus.bulk() as own:
            probes = [estimate(await self._time(own, quick=asked))]
            if before and differs(probes[0], settle(before)):
                probes.append(estimate(await self._time(own, quick=True)))
        self._recent = remember(before, *probes)
        changed = len(probes) > 1 and self._recent == tuple(probes)
        self._measured_at = time.monotonic()
        self.known.set()
        if asked or changed:
            self.news.set()
        logger.debug("link measured", extra={"probes": probes, "changed": changed})
        return changed

    async def _rest(self, pause_s: float) -> None:
        """Until the time is up, or it is asked for."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._asked.wait()

    async def _time(self, bus: Bus, *, quick: bool) -> Times:
        """Raw times; of a quick probe fewer, and of smaller messages: the link may have become slow."""
        many, few = (_SMALL_ROUNDS_QUICK, _LARGE_ROUNDS_QUICK) if quick else (_SMALL_ROUNDS, _LARGE_ROUNDS)
        small_acks = [await bus.publish_bytes(self._address, self._payload(_SMALL_BYTES)) for _ in range(many)]
        most_bytes = min(LARGEST_PROBE_BYTES, bus.max_packet_bytes - 1024)
        nbytes = min(self._probe_bytes, most_bytes, FIRST_PROBE_BYTES if quick else most_bytes)
        while True:
            first = await bus.publish_bytes(self._address, self._payload(nbytes))
            larger = resize(nbytes, first, most_bytes)
            if larger <= nbytes:
                break
            nbytes = larger
        self._probe_bytes = larger
        rounds = few if first < TOO_LONG_S else 1
        more = [await bus.publish_bytes(self._address, self._payload(nbytes)) for _ in range(rounds - 1)]
        async with bus.subscribe_bytes(self._address) as echoes:
            small = [await self._echo(bus, echoes, _SMALL_BYTES) for _ in range(many)]
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
