"""Free share, correction and capacity in the cost model, worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from services.planner.cost import Problem
from services.planner.expected import JITTER_MS, Expected, expected
from services.planner.facts import DeviceFacts
from services.planner.quota import TICK_MS, idle_wall_ms

# Two blocks of 10 and 20 ms; 1 MB in, 1 MB across, 1 MB out; a frame costs 1 ms and 2 ms per MB in and out.
BLOCKS = [10.0, 20.0]
CUTS = [1_000_000] * 3


@pytest.fixture
def plain(make_device: Callable[..., DeviceFacts]) -> DeviceFacts:
    return make_device("pi", BLOCKS, frame_ms=1.0, frame_ms_per_mb=2.0)


def whole(problem: Problem) -> tuple[float, float, float]:
    """Of the stage that is the whole model: compute, frame and service, ms."""
    return tuple(float(times[0, 0, 2]) for times in (problem.compute_ms, problem.frame_ms, problem.service_ms))  # type: ignore[return-value]


def test_nothing_changes_while_nothing_is_known(make_problem: Callable[..., Problem], plain: DeviceFacts) -> None:
    assert (plain.slowdown, plain.frame_slowdown) == (1.0, 1.0)
    assert whole(make_problem([plain], CUTS)) == (30.0, 5.0, 35.0)
    assert whole(make_problem([plain.at_capacity(1.0)], CUTS)) == (30.0, 5.0, 35.0)


def test_what_others_take_slows_blocks_and_frames(make_problem: Callable[..., Problem], plain: DeviceFacts) -> None:
    assert whole(make_problem([replace(plain, free_share=0.5)], CUTS)) == (60.0, 10.0, 70.0)


def test_what_was_learned_slows_blocks_only(make_problem: Callable[..., Problem], plain: DeviceFacts) -> None:
    assert whole(make_problem([replace(plain, correction=1.5)], CUTS)) == (45.0, 5.0, 50.0)
    both = replace(plain, correction=1.5, free_share=0.5)
    assert whole(make_problem([both], CUTS)) == (90.0, 10.0, 100.0)


def test_a_smaller_quota_scales_what_was_measured_under_the_larger(
    make_problem: Callable[..., Problem], plain: DeviceFacts
) -> None:
    quarter = plain.at_capacity(0.25)
    assert quarter.info.capacity_cores == 0.25
    assert whole(make_problem([quarter], CUTS)) == (120.0, 20.0, 140.0)


def test_more_cores_than_threads_make_nothing_quicker(make_problem: Callable[..., Problem], plain: DeviceFacts) -> None:
    roomy = plain.at_capacity(4.0)
    assert (roomy.capacity_scale, roomy.frame_scale) == (1.0, 1.0)
    # From two cores on, frames are handled beside the computation.
    assert whole(make_problem([roomy], CUTS)) == (30.0, 5.0, 30.0)


def test_threads_that_lose_cores_share_those_that_are_left(plain: DeviceFacts) -> None:
    profile = plain.profile.model_copy(update={"threads": 4, "capacity_cores": 4.0})
    four = replace(plain, profile=profile)
    assert (four.at_capacity(2.0).capacity_scale, four.at_capacity(2.0).frame_scale) == (2.0, 1.0)
    assert (four.at_capacity(0.5).capacity_scale, four.at_capacity(0.5).frame_scale) == (8.0, 2.0)


def test_a_profile_under_a_small_quota_is_scaled_back_when_it_is_lifted(plain: DeviceFacts) -> None:
    slow = replace(plain, profile=plain.profile.model_copy(update={"capacity_cores": 0.25}))
    assert slow.at_capacity(1.0).slowdown == 0.25
    assert slow.at_capacity(0.5).slowdown == 0.5


def test_a_device_at_rest_still_gets_its_burst_under_the_new_quota(
    make_problem: Callable[..., Problem], plain: DeviceFacts
) -> None:
    info = plain.info.model_copy(update={"quota_period_ms": 100.0})
    made = make_problem([replace(plain, info=info).at_capacity(0.5)], CUTS)
    # 30 ms of processor time, half of every 100 ms: the first 50 ms pass unhindered.
    import numpy as np

    assert made.compute_ms[0, 0, 2] == 60.0
    assert made.idle_compute_ms[0, 0, 2] == pytest.approx(float(idle_wall_ms(np.array([30.0]), 0.5, 100.0)[0]))
    assert made.idle_compute_ms[0, 0, 2] < 45.0


def a_frame(made: Problem, facts: DeviceFacts, *, last: int = 2, busy: float = 1.0) -> Expected:
    return expected(facts, made.card, (0, last), codecs=("fp32", "fp32"), busy=busy)


def test_a_stage_of_a_free_device_should_take_what_its_profile_says(
    make_problem: Callable[..., Problem], plain: DeviceFacts
) -> None:
    made = make_problem([plain], CUTS)
    assert a_frame(made, plain) == (30.0 - JITTER_MS, 30.0 + JITTER_MS)
    warm = replace(plain, profile=plain.profile.model_copy(update={"rest_ratio": 1.2}))
    assert a_frame(made, warm, busy=0.5) == pytest.approx((33.0 - JITTER_MS, 33.0 + JITTER_MS))


def test_where_in_a_quotas_period_a_frame_comes_says_nothing_of_the_device(
    make_problem: Callable[..., Problem], plain: DeviceFacts
) -> None:
    info = plain.info.model_copy(update={"quota_period_ms": 10.0})
    half = replace(plain, info=info).at_capacity(0.5)
    made = make_problem([half], CUTS)
    # 60 ms at half a core; it may meet half a period's stop more or less, and overrun its quota by a tick.
    assert a_frame(made, half) == pytest.approx((60 - 5 - TICK_MS - JITTER_MS, 60 + 5 + TICK_MS + JITTER_MS))
    assert a_frame(made, half, last=1) == pytest.approx((20 - 9.5, 20 + 9.5))
    short = replace(half, profile=half.profile.model_copy(update={"block_ms": (1.0, 1.0)}))
    assert a_frame(make_problem([short], CUTS), short, last=1).least_ms == pytest.approx(0.5)


def test_others_may_let_a_short_stage_pass_and_never_a_long_one(
    make_problem: Callable[..., Problem], plain: DeviceFacts
) -> None:
    shared = replace(plain, free_share=0.5)
    made = make_problem([shared], CUTS)
    assert a_frame(made, shared) == pytest.approx((50 - JITTER_MS, 60 + JITTER_MS))
    assert a_frame(made, shared, last=1) == pytest.approx((10 - JITTER_MS, 20 + JITTER_MS))


def test_only_what_is_beyond_the_bounds_is_learned_from() -> None:
    bounds = Expected(10.0, 20.0)
    assert [bounds.ratio(ms) for ms in (5.0, 10.0, 15.0, 20.0, 40.0)] == [0.5, 1.0, 1.0, 1.0, 2.0]
