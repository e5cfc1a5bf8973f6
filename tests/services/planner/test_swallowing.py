"""Who swallows frames: three witnesses must agree, and none of them alone is believed."""

from __future__ import annotations

import pytest
from made_up_plans import made_up_plan

from schemas.accuracy import SEEN_WITHIN_S, RouteSeen, Seen
from schemas.plan import Plan
from schemas.stages import ExitSeen, StageTiming, Timing
from services.planner.swallowing import REPORTS, Swallowing


def plan(text: str) -> Plan:
    return made_up_plan(text, generation=3)


def timing(device: str, *, queue: int = 0, generation: int = 3, **frames: int) -> Timing:
    stages = tuple(
        StageTiming(
            deployment="cats", generation=generation, stage=stage, frames=number, wait_ms=0, compute_ms=1, codec_ms=0,
            bytes_in=1, bytes_out=1,
        )
        for stage, number in frames.items()
    )  # fmt: skip
    return Timing(device=device, boot_id="b1", period_s=1.0, queue_depth=queue, stages=stages)


def seen(submitter: str, *, answers: int = 0, waiting: int = 1, route: int = 0) -> Seen:
    routes = (RouteSeen(route=route, answers=answers, latency_ms=0, waiting=waiting),)
    return Seen(submitter=submitter, deployment="cats", generation=3, period_s=1.0, routes=routes)


def watched(rounds: int, *reports: Timing | Seen, text: str = "a[0:2) -> b[2:4)") -> dict[str, str]:
    account = Swallowing(plan(text))
    for second in range(rounds):
        for one in reports:
            account = (
                account.with_timing(one) if isinstance(one, Timing) else account.with_seen(one, now_s=float(second))
            )
    return account.found(now_s=float(rounds - 1))


def test_a_device_that_is_given_frames_and_lets_none_through_is_found_when_nothing_is_answered() -> None:
    reports = timing("a", r0s0=5), timing("b"), seen("door")
    assert watched(REPORTS - 1, *reports) == {}
    found = watched(REPORTS, *reports)
    assert list(found) == ["b"]
    assert "a sent them" in found["b"]


@pytest.mark.parametrize(
    "reports",
    [
        (timing("a", r0s0=5), timing("b")),
        (timing("a", r0s0=5), timing("b"), seen("door", answers=3)),
        (timing("a", r0s0=5), timing("b"), seen("door", waiting=0)),
        (timing("a"), timing("b"), seen("door")),
        (timing("a", r0s0=5), timing("b", r0s1=5), seen("door")),
        (timing("a", r0s0=5), timing("b", queue=3), seen("door")),
        (timing("a", r0s0=5), seen("door")),
        (timing("a", r0s0=5, generation=2), timing("b"), seen("door")),
        (timing("a", r0s0=5), timing("b"), seen("door", route=1)),
    ],
    ids=["nobody asks", "answered", "nothing under way", "nothing given", "frames through", "still at work",
         "its device says nothing", "an older plan", "another route"],
)  # fmt: skip
def test_whoever_is_not_accused_by_all_three_is_left_in_peace(reports: tuple[Timing | Seen, ...]) -> None:
    assert watched(10 * REPORTS, *reports) == {}


def test_one_frame_that_comes_through_clears_a_device() -> None:
    account = Swallowing(plan("a[0:2) -> b[2:4)"))
    for second in range(REPORTS - 1):
        account = account.with_timing(timing("a", r0s0=5)).with_timing(timing("b")).with_seen(seen("door"), second)
    account = account.with_timing(timing("b", r0s1=1))
    account = account.with_timing(timing("a", r0s0=5)).with_timing(timing("b")).with_seen(seen("door"), REPORTS)
    assert account.found(REPORTS) == {}


def test_a_first_stage_is_accused_by_two_submitters_or_not_at_all() -> None:
    assert watched(10 * REPORTS, timing("a"), seen("door"), text="a[0:4)") == {}
    assert list(watched(REPORTS, timing("a"), seen("door"), seen("gate"), text="a[0:4)")) == ["a"]


def test_what_submitters_said_long_ago_counts_no_more() -> None:
    account = Swallowing(plan("a[0:2) -> b[2:4)"))
    for second in range(REPORTS):
        account = account.with_timing(timing("a", r0s0=5)).with_timing(timing("b")).with_seen(seen("door"), second)
    assert list(account.found(REPORTS)) == ["b"]
    assert account.found(REPORTS + SEEN_WITHIN_S) == {}


def test_a_device_that_hands_frames_to_itself_is_not_its_own_witness() -> None:
    reports = timing("a", r0s0=5), seen("door")
    assert watched(10 * REPORTS, *reports, text="a[0:2) -> a[2:4)") == {}


def test_a_device_behind_an_exit_that_everybody_leaves_by_swallows_nothing() -> None:
    stage = timing("a", r0s0=5).stages[0]
    left = stage.model_copy(update={"exits": (ExitSeen(name="exit1", met=5, left=5),)})
    some_stay = stage.model_copy(update={"exits": (ExitSeen(name="exit1", met=5, left=4),)})
    silent = timing("b"), seen("door")
    assert watched(REPORTS, timing("a").model_copy(update={"stages": (left,)}), *silent) == {}
    assert list(watched(REPORTS, timing("a").model_copy(update={"stages": (some_stay,)}), *silent)) == ["b"]
