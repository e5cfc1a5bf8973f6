"""Rolling figures: medians per stage, refusals for good."""

from collections import Counter

from schemas.frame import StageTrace
from services.worker.following import StageKey
from services.worker.timing import Timings


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
