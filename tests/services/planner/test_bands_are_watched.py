"""What bands take is compared with what was predicted, and who swallows a band's frames is found."""

from __future__ import annotations

import pytest
from made_up_plans import made_up_plan

from schemas.accuracy import RouteSeen, Seen
from schemas.parts import part_at, plan_parts, predicted_parts
from schemas.plan import Plan, SideBySide, StagePrediction
from schemas.plan_text import parse_route
from schemas.stages import StageTiming, Timing
from services.planner.accuracy import Ledger, stages_of
from services.planner.rollout_state import Rollout, longest_step_ms
from services.planner.swallowing import REPORTS, Swallowing

TEXT = "(a rows 0:9 from 0:11 + b rows 9:14 from 7:16)[0:2) -> a[2:4) -> c[4:6)"


def predicted(compute_ms: float) -> StagePrediction:
    return StagePrediction(down_ms=1.0, compute_ms=compute_ms, up_ms=1.0)


def plan() -> Plan:
    route = parse_route(TEXT)
    bands = route.side_by_side
    assert bands is not None
    shared = SideBySide(last=bands.last, bands=bands.bands, predictions=(predicted(10.0), predicted(12.0)))
    route = route.model_copy(update={"side_by_side": shared, "stage_predictions": (predicted(20.0), predicted(30.0))})
    return made_up_plan((route,), generation=3)


def timing(device: str, *, compute_ms: float = 1.0, **frames: int) -> Timing:
    stages = tuple(
        StageTiming(
            deployment="cats", generation=3, stage=stage, frames=number, wait_ms=0, compute_ms=compute_ms, codec_ms=0,
            bytes_in=1, bytes_out=1,
        )
        for stage, number in frames.items()
    )  # fmt: skip
    return Timing(device=device, boot_id="b1", period_s=1.0, queue_depth=0, stages=stages)


def seen(submitter: str) -> Seen:
    routes = (RouteSeen(route=0, answers=0, latency_ms=0, waiting=1),)
    return Seen(submitter=submitter, deployment="cats", generation=3, period_s=1.0, routes=routes)


def watched(*reports: Timing | Seen) -> dict[str, str]:
    account = Swallowing(plan())
    for second in range(REPORTS):
        for one in reports:
            account = (
                account.with_timing(one) if isinstance(one, Timing) else account.with_seen(one, now_s=float(second))
            )
    return account.found(now_s=float(REPORTS - 1))


def test_every_part_of_a_plan_is_found_by_its_id() -> None:
    served = plan()
    assert [part.stage for part in plan_parts(served)] == ["r0b0", "r0b1", "r0s0", "r0s1"]
    for part in plan_parts(served):
        assert part_at(served, part.stage) == part
    for stranger in ("r0b2", "r0s2", "r1s0", "r00b0", "r0x0", ""):
        assert part_at(served, stranger) is None
    assert [(part.stage, one.compute_ms) for part, one in predicted_parts(served.routes[0], 0)] == [
        ("r0b0", 10.0), ("r0b1", 12.0), ("r0s0", 20.0), ("r0s1", 30.0),
    ]  # fmt: skip


def test_bands_are_compared_with_their_predictions_and_only_the_slowest_explains_a_slow_route() -> None:
    ledger = Ledger(plan())
    assert [name for name, _, _ in stages_of(ledger.plan)] == ["r0b0", "r0b1", "r0s0", "r0s1"]
    ledger = ledger.with_timing(timing("a", r0b0=10, compute_ms=15.0)).with_timing(
        timing("b", r0b1=10, compute_ms=36.0)
    )
    ledger = ledger.with_timing(timing("a", r0s0=10, compute_ms=23.0))
    assert ledger.explained_ms(0) == pytest.approx(24.0 + 3.0)
    assert ledger.slowness(0) == pytest.approx(3.0)
    assert [one.stage for one in ledger.accuracy(0.0).stages] == ["r0b0", "r0b1", "r0s0"]


def test_a_report_about_a_band_of_nobodys_is_passed_over() -> None:
    ledger = Ledger(plan())
    assert ledger.with_timing(timing("a", r0b1=5)) is ledger
    assert ledger.with_timing(timing("a", r0b7=5)) is ledger
    assert ledger.with_timing(timing("a", r9b0=5)) is ledger


def test_a_device_that_swallows_its_band_is_found_and_not_the_one_that_waits_for_it() -> None:
    reports = timing("a", r0b0=5), timing("b"), timing("c")
    assert watched(*reports, seen("door")) == {}
    found = watched(*reports, seen("door"), seen("gate"))
    assert list(found) == ["b"]
    assert "2 submitters sent them" in found["b"]


def test_behind_bands_a_stage_that_swallows_is_found_by_what_the_bands_let_through() -> None:
    served = plan()
    moved = served.routes[0].model_copy(update={"stages": parse_route("c[0:2) -> a[2:4)").stages})
    stages = (moved.stages[0].model_copy(update={"first": 2, "last": 4}),)
    route = served.routes[0].model_copy(update={"stages": stages, "stage_predictions": ()})
    account = Swallowing(served.model_copy(update={"routes": (route,)}))
    for second in range(REPORTS):
        for one in (timing("a", r0b0=5), timing("b", r0b1=5), timing("c")):
            account = account.with_timing(one)
        account = account.with_seen(seen("door"), now_s=float(second))
    assert list(account.found(now_s=float(REPORTS - 1))) == ["c"]


def test_the_longest_step_of_a_device_may_be_a_band() -> None:
    rollout = Rollout("cats", current=plan())
    assert longest_step_ms([rollout], "b") == 12.0
    assert longest_step_ms([rollout], "a") == 20.0
