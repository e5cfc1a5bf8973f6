"""What others leave of a device, told apart from our own work."""

from __future__ import annotations

import math
from typing import Any

import pytest

from schemas.device import LinkMeasure, Power, Telemetry, Throttling
from schemas.stages import StageTiming, Timing
from services.planner.condition import FAIR_SHARE, Conditions


def telemetry(load: float, *, cores: float = 1.0, monitor_cpu: float = 0.0, **more: Any) -> Telemetry:
    return Telemetry(
        device="pi", boot_id="m", sequence=0, unix_time=0, load=load, capacity_cores=cores, memory_free_bytes=1,
        memory_bytes=1, monitor_cpu=monitor_cpu, power=Power(watts=1, method="modelled", source="test"), **more,
    )  # fmt: skip


def timing(cpu_s: float, *, period_s: float = 1.0, moved_bytes: int = 0) -> Timing:
    stage = StageTiming(
        deployment="cats", generation=1, stage="r0s0", frames=1, wait_ms=0, compute_ms=1, codec_ms=0,
        bytes_in=moved_bytes, bytes_out=moved_bytes,
    )  # fmt: skip
    return Timing(
        device="pi", boot_id="w", period_s=period_s, queue_depth=0, cpu_s=cpu_s, stages=(stage,) if moved_bytes else ()
    )


def link(mbps: float, *, rtt_ms: float = 2.0, age_s: float = 0.0) -> LinkMeasure:
    return LinkMeasure(rtt_ms=rtt_ms, up_mbps=mbps, down_mbps=mbps, probe_bytes=1000, age_s=age_s)


def seconds(load: float, cpu_s: float, *, count: int = 30, start: Conditions | None = None, **more: Any) -> Conditions:
    conditions = start or Conditions()
    first = 0.0 if start is None else 30.0
    for second in range(count):
        conditions = conditions.with_timing("pi", timing(cpu_s), first + second)
        conditions = conditions.with_telemetry("pi", telemetry(load, **more), first + second)
    return conditions


def others(conditions: Conditions) -> float:
    return conditions.devices["pi"].others.value()


def test_a_device_nobody_has_heard_of_is_free() -> None:
    conditions = Conditions()
    assert conditions.free_share("pi") == 1.0
    assert conditions.capacity_cores("pi") is None
    assert conditions.link("pi") is None


def test_our_own_work_is_no_load() -> None:
    conditions = seconds(load=0.82, cpu_s=0.8, monitor_cpu=0.02)
    assert others(conditions) == pytest.approx(0.0, abs=1e-9)
    assert conditions.free_share("pi") == pytest.approx(1.0)


def test_what_others_use_is_not_free() -> None:
    conditions = seconds(load=0.7, cpu_s=0.4)
    assert others(conditions) == pytest.approx(0.3)
    assert conditions.free_share("pi") == pytest.approx(0.7)


def test_processor_time_is_a_share_of_the_capacity() -> None:
    conditions = seconds(load=0.7, cpu_s=0.1, cores=0.25, monitor_cpu=0.025)
    assert conditions.own_share("pi", 30.0) == pytest.approx(0.4)
    assert others(conditions) == pytest.approx(0.2)


def test_one_who_always_computes_leaves_an_idle_worker_half() -> None:
    conditions = seconds(load=1.0, cpu_s=0.0)
    assert conditions.free_share("pi") == FAIR_SHARE


def test_others_first_take_the_cores_that_our_threads_do_not_use() -> None:
    conditions = seconds(load=0.25, cpu_s=0.0, cores=4.0)
    assert conditions.free_share("pi") == pytest.approx(0.75)
    assert conditions.free_share("pi", threads=4) == pytest.approx(0.75)
    assert conditions.free_share("pi", threads=3) == 1.0
    assert conditions.free_share("pi", threads=1) == 1.0


def test_the_first_word_counts_in_full() -> None:
    conditions = Conditions().with_timing("pi", timing(0.0), 0.0)
    conditions = conditions.with_telemetry("pi", telemetry(0.0), 0.5).with_telemetry("pi", telemetry(0.4), 1.5)
    assert conditions.free_share("pi") == pytest.approx(0.6)


def test_noise_hardly_moves_it_and_a_jump_is_followed_within_seconds() -> None:
    calm = seconds(load=0.2, cpu_s=0.2)
    burst = calm.with_telemetry("pi", telemetry(0.6), 30.0)
    assert others(burst) < 0.2
    jumped = seconds(load=0.6, cpu_s=0.2, count=6, start=calm)
    assert others(jumped) == pytest.approx(0.4, abs=0.1)


def test_what_a_worker_that_has_fallen_silent_leaves_is_not_guessed() -> None:
    conditions = seconds(load=0.9, cpu_s=0.9)
    assert conditions.own_share("pi", 31.0) == pytest.approx(0.9)
    assert conditions.own_share("pi", 40.0) == 0.0
    for second in range(30, 70):
        conditions = conditions.with_telemetry("pi", telemetry(0.9), float(second))
    assert conditions.free_share("pi") == pytest.approx(1.0)
    again = seconds(load=0.9, cpu_s=0.5, start=conditions)
    assert others(again) == pytest.approx(0.4, abs=0.05)


def test_load_is_nobodys_until_the_worker_could_have_said_whether_it_is_its_own() -> None:
    conditions = Conditions()
    for second in range(4):
        conditions = conditions.with_telemetry("pi", telemetry(0.9), float(second))
    assert conditions.free_share("pi") == 1.0
    for second in range(4, 30):
        conditions = conditions.with_telemetry("pi", telemetry(0.4), float(second))
    assert conditions.free_share("pi") == pytest.approx(0.6)


def test_a_new_quota_is_known_at_once_and_what_was_seen_before_is_soon_replaced() -> None:
    before = seconds(load=0.3, cpu_s=0.3)
    after = seconds(load=1.0, cpu_s=0.25, count=3, start=before, cores=0.25)
    assert after.capacity_cores("pi") == 0.25
    assert after.free_share("pi") == pytest.approx(1.0, abs=0.05)


def test_a_hot_device_is_slower_at_once_and_trusted_again_slowly() -> None:
    cool = seconds(load=0.0, cpu_s=0.0)
    hot = cool.with_telemetry("pi", telemetry(0.0, throttling=Throttling(throttled=True)), 31.0)
    assert hot.free_share("pi") == pytest.approx(0.6)
    better = hot.with_telemetry("pi", telemetry(0.0, throttling=Throttling()), 32.0)
    assert 0.6 < better.free_share("pi") < 0.7
    for second in range(33, 90):
        better = better.with_telemetry("pi", telemetry(0.0, throttling=Throttling()), float(second))
    assert better.free_share("pi") == pytest.approx(1.0, abs=0.01)


def test_last_words_of_a_monitor_are_kept() -> None:
    conditions = seconds(load=0.4, cpu_s=0.0, link=link(50.0))
    assert conditions.free_share("pi") == pytest.approx(0.6)
    assert conditions.link("pi") is not None


def test_a_link_is_averaged_over_its_measurements_and_not_over_their_repetitions() -> None:
    conditions = Conditions()
    for second in range(20):
        conditions = conditions.with_telemetry("pi", telemetry(0, link=link(100.0, age_s=second)), float(second))
    conditions = conditions.with_telemetry("pi", telemetry(0, link=link(80.0)), 20.0)
    known = conditions.link("pi")
    assert known is not None
    assert known.up_mbps == pytest.approx(math.sqrt(100 * 80), rel=0.05)  # two measurements, about alike in weight
    assert known.rtt_ms == pytest.approx(2.0)


def test_a_link_that_became_twenty_times_slower_is_believed_after_two_measurements() -> None:
    conditions = Conditions()
    for probe in range(10):
        conditions = conditions.with_telemetry("pi", telemetry(0, link=link(100.0 + probe)), float(probe))
    for probe in range(2):
        conditions = conditions.with_telemetry("pi", telemetry(0, link=link(5.0 + probe / 10)), 10.0 + probe)
    known = conditions.link("pi")
    assert known is not None
    assert known.up_mbps < 8


def test_what_our_own_frames_take_of_a_link_is_no_less_there() -> None:
    conditions = Conditions().with_timing("pi", timing(0.1, moved_bytes=5_000_000), 0.0)
    known = conditions.with_telemetry("pi", telemetry(0, link=link(60.0)), 0.1).link("pi")
    assert known is not None
    assert known.up_mbps == pytest.approx(100.0)


def test_a_link_that_carries_nothing_stays_one() -> None:
    known = Conditions().with_telemetry("pi", telemetry(0, link=link(0.0)), 0.0).link("pi")
    assert known is not None
    assert known.up_mbps == 0


def test_a_device_can_be_forgotten() -> None:
    assert seconds(load=1.0, cpu_s=0.0).without("pi") == Conditions()
