"""How fast this worker's stages are, over the last period, and what it refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from dataclasses import dataclass, field
from statistics import median
from typing import Final, Protocol

from broker.bus import Bus, BusError
from schemas.frame import StageTrace
from schemas.stages import StageTiming, Timing
from schemas.topics import DEVICE_TIMING
from services.worker.following import StageKey

_KEPT: Final = 256
"""Traces per stage and period that the medians are taken of; the latest ones, so that memory is bounded."""


class Queue(Protocol):
    """Where frames wait."""

    @property
    def queue_depth(self) -> int:
        """Frames taken in and not yet handed on."""


@dataclass
class _Seen:
    frames: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    latest: deque[StageTrace] = field(default_factory=lambda: deque(maxlen=_KEPT))


class Timings:
    """Collects traces and refusals; `report` empties the period."""

    def __init__(self, device: str, boot_id: str) -> None:
        self._device = device
        self._boot_id = boot_id
        self._seen: dict[StageKey, _Seen] = {}
        self.rejected: Counter[str] = Counter()
        """Since the worker started: reason -> frames."""

    def record(self, key: StageKey, trace: StageTrace) -> None:
        """One frame went through `key`."""
        seen = self._seen.setdefault(key, _Seen())
        seen.frames += 1
        seen.bytes_in += trace.bytes_in
        seen.bytes_out += trace.bytes_out
        seen.latest.append(trace)

    def report(self, period_s: float, queue_depth: int, edge: Counter[str]) -> Timing:
        """What happened since the last report.

        Args:
            period_s: how long that is.
            queue_depth: frames taken in and not yet handed on, now.
            edge: what the bus refused before any stage saw it, since the worker started.
        """
        stages = tuple(_stage_timing(key, seen) for key, seen in sorted(self._seen.items()))
        self._seen.clear()
        return Timing(
            device=self._device,
            boot_id=self._boot_id,
            period_s=period_s,
            queue_depth=queue_depth,
            stages=stages,
            rejected=dict(self.rejected + edge),
        )


def _stage_timing(key: StageKey, seen: _Seen) -> StageTiming:
    return StageTiming(
        deployment=key.deployment,
        generation=key.generation,
        stage=key.stage,
        frames=seen.frames,
        wait_ms=median(trace.wait_ms for trace in seen.latest),
        compute_ms=median(trace.compute_ms for trace in seen.latest),
        codec_ms=median(trace.codec_ms for trace in seen.latest),
        bytes_in=seen.bytes_in,
        bytes_out=seen.bytes_out,
    )


async def report_timings(bus: Bus, line: Queue, timings: Timings, period_s: float) -> None:
    """Publish a report every period while anything happens, and one more when it has stopped; until cancelled."""
    before = Counter[str]()
    active = False
    while True:
        await asyncio.sleep(period_s)
        report = timings.report(period_s, line.queue_depth, bus.rejected)
        now = Counter(report.rejected)
        was_active, active = active, bool(report.stages or report.queue_depth or now != before)
        before = now
        if active or was_active:
            # Figures of a moment when nobody listened are not worth keeping.
            with contextlib.suppress(BusError):
                await bus.publish(DEVICE_TIMING, report, device=report.device, timeout_s=period_s)
