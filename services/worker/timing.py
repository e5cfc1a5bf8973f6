"""How fast this worker's stages are, over the last period, and what it refused: also the sign that it lives.

A report comes every period, whether anything happens or not, so that silence means that this process or its event
loop hangs; `stuck_s` tells of a compute thread that does.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, Protocol

from broker.bus import Bus, BusError
from schemas.frame_header import StageTrace
from schemas.stages import DEVICE_STAGES_MOST, ExitSeen, StageTiming, Timing
from schemas.topics import DEVICE_TIMING
from services.worker.assignments import StageKey

_KEPT: Final = 256
"""Traces per stage and period that medians are taken of; the latest ones, so that memory is bounded."""


class Computing(Protocol):
    """Where frames wait and are computed."""

    @property
    def queue_depth(self) -> int:
        """Frames taken in and not yet handed on."""

    @property
    def stuck_s(self) -> float:
        """How long the compute thread has been at its present step."""


@dataclass
class _Seen:
    frames: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    met: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    wait_ms: float = 0.0
    compute_ms: float = 0.0
    codec_ms: float = 0.0
    """Sums over all frames."""
    latest: deque[StageTrace] = field(default_factory=lambda: deque(maxlen=_KEPT))


class Timings:
    """Collects traces and refusals; `report` empties the period."""

    def __init__(self, device: str, boot_id: str) -> None:
        self._device = device
        self._boot_id = boot_id
        self._seen: dict[StageKey, _Seen] = {}
        self.rejected: Counter[str] = Counter()
        """Since the worker started: reason -> frames."""

    def record(self, key: StageKey, trace: StageTrace, *, met: Sequence[str] = (), left: str = "") -> None:
        """One frame went through `key`, met these exits on its way, and left by that one, if by any."""
        seen = self._seen.setdefault(key, _Seen())
        seen.frames += 1
        seen.bytes_in += trace.bytes_in
        seen.bytes_out += trace.bytes_out
        seen.wait_ms += trace.wait_ms
        seen.compute_ms += trace.compute_ms
        seen.codec_ms += trace.codec_ms
        seen.latest.append(trace)
        seen.met.update(met)
        if left:
            seen.left[left] += 1

    def report(
        self, period_s: float, queue_depth: int, edge: Counter[str], *, cpu_s: float = 0.0, stuck_s: float = 0.0
    ) -> Timing:
        """What happened since the last report.

        Args:
            period_s: how long that is.
            queue_depth: frames taken in and not yet handed on, now.
            edge: what the bus refused before any stage saw it, since the worker started.
            cpu_s: processor time of this process in the period.
            stuck_s: how long the compute thread has been at its present step, now.
        """
        # Stages that were let go in the period count, too: there may be more than are held at a time.
        told = sorted(sorted(self._seen.items(), key=lambda one: -one[1].frames)[:DEVICE_STAGES_MOST])
        stages = tuple(_stage_timing(key, seen) for key, seen in told)
        self._seen.clear()
        return Timing(
            device=self._device,
            boot_id=self._boot_id,
            period_s=period_s,
            queue_depth=queue_depth,
            cpu_s=cpu_s,
            stuck_s=stuck_s,
            stages=stages,
            rejected=dict(self.rejected + edge),
        )


def _stage_timing(key: StageKey, seen: _Seen) -> StageTiming:
    if seen.met:
        # What a frame takes depends on where it leaves: a median would jump from one to the other, and the latest
        # frames may have left elsewhere than those that `exits` counts.
        times = [total / seen.frames for total in (seen.wait_ms, seen.compute_ms, seen.codec_ms)]
    else:
        latest = [(one.wait_ms, one.compute_ms, one.codec_ms) for one in seen.latest]
        times = [median(each) for each in zip(*latest, strict=True)]
    return StageTiming(
        deployment=key.deployment,
        generation=key.generation,
        stage=key.stage,
        frames=seen.frames,
        wait_ms=times[0],
        compute_ms=times[1],
        codec_ms=times[2],
        bytes_in=seen.bytes_in,
        bytes_out=seen.bytes_out,
        exits=tuple(ExitSeen(name=name, met=met, left=seen.left[name]) for name, met in seen.met.items()),
    )


async def keep_reporting(bus: Bus, line: Computing, timings: Timings, period_s: float) -> None:
    """Publish a report every period, at rest too, until cancelled.

    No report waits for the one before it: a broker that is slow to acknowledge must not make us look dead.
    """
    async with asyncio.TaskGroup() as reports:
        due = then_s = time.monotonic()
        cpu_then_s = time.process_time()
        while True:
            due = max(due + period_s, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            now_s, cpu_now_s = time.monotonic(), time.process_time()
            report = timings.report(
                now_s - then_s,
                line.queue_depth,
                bus.rejected,
                cpu_s=cpu_now_s - cpu_then_s,
                stuck_s=line.stuck_s,
            )
            then_s, cpu_then_s = now_s, cpu_now_s
            if bus.connected:  # figures of a moment when nobody listened are not worth keeping
                reports.create_task(_publish(bus, report, period_s))


async def _publish(bus: Bus, report: Timing, within_s: float) -> None:
    with contextlib.suppress(BusError):
        await bus.publish(DEVICE_TIMING, report, device=report.device, timeout_s=within_s)
