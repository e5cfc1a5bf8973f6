"""Rolling figures: medians per stage, refusals for good; and a report in every period, whatever happens."""

import asyncio
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

from schemas.frame_header import StageTrace
from schemas.stages import DEVICE_STAGES_MOST, Timing
from services.worker.assignments import StageKey
from services.worker.timing import Timings, keep_reporting


def trace(compute_ms: float) -> StageTrace:
    return StageTrace(
        device="pi4", first=0, last=2, wait_ms=1.0, compute_ms=compute_ms, codec_ms=0.5, bytes_in=100, bytes_out=10
    )


def test_a_period_reports_medians_and_totals_and_the_next_starts_empty() -> None:
    timings = Timings("pi4", "boot1")
    for compute_ms in (1.0, 9.0, 2.0):
        timings.record(StageKey("cats", 3, "r0s0"), trace(compute_ms))
    report = timings.report(1.0, 2, Counter())
    (stage,) = report.stages
    assert (stage.deployment, stage.generation, stage.stage, stage.frames) == ("cats", 3, "r0s0", 3)
    assert (stage.wait_ms, stage.compute_ms, stage.codec_ms) == (1.0, 2.0, 0.5)
    assert (stage.bytes_in, stage.bytes_out, report.queue_depth) == (300, 30, 2)
    assert timings.report(1.0, 0, Counter()).stages == ()


def test_of_a_stage_with_exits_means_are_told_and_who_left_where() -> None:
    timings = Timings("pi4", "boot1")
    for compute_ms, left in ((1.0, "exit1"), (1.0, "exit1"), (7.0, "")):
        timings.record(StageKey("cats", 3, "r0s0"), trace(compute_ms), met=("exit1",), left=left)
    (stage,) = timings.report(1.0, 0, Counter()).stages
    assert stage.compute_ms == 3.0
    assert [(one.name, one.met, one.left) for one in stage.exits] == [("exit1", 3, 2)]


def test_means_are_of_the_same_frames_as_the_exits_they_are_told_with() -> None:
    timings = Timings("pi4", "boot1")
    for number in range(1000):
        hard = number < 500
        timings.record(
            StageKey("cats", 3, "r0s0"), trace(9.0 if hard else 1.0), met=("exit1",), left="" if hard else "exit1"
        )
    (stage,) = timings.report(1.0, 0, Counter()).stages
    assert (stage.wait_ms, stage.compute_ms, stage.codec_ms) == (1.0, 5.0, 0.5)
    assert [(one.met, one.left) for one in stage.exits] == [(1000, 500)]


def test_refusals_are_counted_since_the_start_together_with_those_at_the_edge_of_the_bus() -> None:
    timings = Timings("pi4", "boot1")
    timings.rejected["expired"] += 1
    edge = Counter(truncated=2)
    timings.report(1.0, 0, edge)
    assert timings.report(1.0, 0, edge).rejected == {"expired": 1, "truncated": 2}


def test_a_long_period_does_not_grow_without_bound() -> None:
    timings = Timings("pi4", "boot1")
    for i in range(10_000):
        timings.record(StageKey("cats", 3, "r0s0"), trace(float(i)))
    (stage,) = timings.report(1.0, 0, Counter()).stages
    assert stage.frames == 10_000
    assert stage.compute_ms > 9_000


class SlowBus:
    """A broker that never acknowledges anything."""

    def __init__(self) -> None:
        self.connected = True
        self.rejected = Counter[str]()
        self.reports: asyncio.Queue[Timing] = asyncio.Queue()

    async def publish(self, _topic: object, report: Timing, **_: object) -> bool:
        await self.reports.put(report)
        await asyncio.Event().wait()
        return True


async def beats(bus: Any, line: Any, count: int) -> list[Timing]:
    task = asyncio.create_task(keep_reporting(bus, line, Timings("pi4", "boot1"), 0.05))
    try:
        async with asyncio.timeout(10):
            return [await bus.reports.get() for _ in range(count)]
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_worker_at_rest_reports_every_period_and_waits_for_no_acknowledgement() -> None:
    started_s, used_s = time.monotonic(), time.process_time()
    reports = await beats(SlowBus(), SimpleNamespace(queue_depth=0, stuck_s=0.0), 4)
    passed_s, used_s = time.monotonic() - started_s, time.process_time() - used_s
    assert all(report.stages == () and report.stuck_s == 0 for report in reports)
    assert 4 * 0.05 <= sum(report.period_s for report in reports) <= passed_s
    assert 0 < sum(report.cpu_s for report in reports) <= used_s


async def test_a_report_tells_how_long_the_compute_thread_is_at_one_step() -> None:
    (report,) = await beats(SlowBus(), SimpleNamespace(queue_depth=3, stuck_s=4.5), 1)
    assert (report.queue_depth, report.stuck_s) == (3, 4.5)


def test_of_more_stages_than_a_report_may_tell_of_the_busiest_are_told() -> None:
    timings = Timings("pi4", "boot1")
    for generation in range(DEVICE_STAGES_MOST + 44):
        for _ in range(1 + (generation >= 44)):
            timings.record(StageKey("cats", generation, "r0s0"), trace(1.0))
    told = timings.report(1.0, 0, Counter()).stages
    assert [stage.generation for stage in told] == list(range(44, DEVICE_STAGES_MOST + 44))
