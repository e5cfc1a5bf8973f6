"""Predicted beside measured, as values."""

from __future__ import annotations

import pytest
from made_up_plans import made_up_plan

from schemas.accuracy import Compared, RouteSeen, Seen
from schemas.plan import Plan, Prediction, StagePrediction
from schemas.plan_text import parse_route
from schemas.stages import StageTiming, Timing
from services.planner.accuracy import Ledger, mean_error
from services.planner.comparing import said


def served(generation: int = 1) -> Plan:
    route = parse_route("pi[0:2) -> nano[2:4)").model_copy(
        update={
            "stage_predictions": tuple(StagePrediction(down_ms=1, compute_ms=ms, up_ms=1) for ms in (10.0, 20.0)),
            "predicted": Prediction(latency_ms=40.0, throughput_rps=25.0, energy_j=0.1),
        }
    )
    return made_up_plan((route,), generation=generation)


def timing(
    frames: int, compute_ms: float, *, generation: int = 1, stage: str = "r0s1", device: str = "nano",
    wait_ms: float = 0.0,
) -> Timing:  # fmt: skip
    one = StageTiming(
        deployment="cats", generation=generation, stage=stage, frames=frames, wait_ms=wait_ms, compute_ms=compute_ms,
        codec_ms=1.0, bytes_in=0, bytes_out=0,
    )  # fmt: skip
    return Timing(device=device, boot_id="w", period_s=1, queue_depth=0, stages=(one,))


def seen(answers: int, latency_ms: float, *, submitter: str = "laptop", generation: int = 1) -> Seen:
    one = RouteSeen(route=0, answers=answers, latency_ms=latency_ms, waiting=1)
    return Seen(submitter=submitter, deployment="cats", generation=generation, period_s=0.5, routes=(one,))


def test_a_stage_is_told_beside_its_prediction_from_the_first_report_on() -> None:
    told = Ledger(served()).with_timing(timing(30, 21.0)).accuracy(now_s=0.0)
    (stage,) = told.stages
    assert (stage.stage, stage.device) == ("r0s1", "nano")
    assert stage.compute_ms == Compared(predicted=20.0, measured=22.0, samples=30)
    assert told.error == pytest.approx(0.1)
    assert said(told, stage) == "cats g1 r0s1 on nano: 22.00 ms measured, 20.00 ms predicted (+10%)"


def test_averages_follow_a_change() -> None:
    ledger = Ledger(served())
    for _ in range(30):
        ledger = ledger.with_timing(timing(10, 19.0))
    assert ledger.accuracy(0.0).error == pytest.approx(0.0)
    for _ in range(60):
        ledger = ledger.with_timing(timing(10, 39.0))
    assert ledger.accuracy(0.0).stages[0].compute_ms.measured == pytest.approx(40.0, rel=0.01)


@pytest.mark.parametrize(
    "report",
    [timing(9, 21.0, generation=2), timing(9, 21.0, stage="r7s0"), timing(9, 21.0, device="pi"), timing(0, 21.0)],
)
def test_reports_of_other_plans_other_places_or_nothing_change_nothing(report: Timing) -> None:
    assert Ledger(served()).with_timing(report).accuracy(0.0).stages == ()


def test_a_route_is_told_with_latency_and_answers_of_all_submitters() -> None:
    ledger = Ledger(served()).with_seen(seen(5, 44.0), 10.0).with_seen(seen(2, 44.0, submitter="phone"), 10.5)
    (route,) = ledger.accuracy(now_s=11.0).routes
    assert route.latency_ms == Compared(predicted=40.0, measured=44.0, samples=7)
    assert (route.throughput_rps.predicted, route.throughput_rps.measured) == (25.0, 14.0)
    (later,) = ledger.accuracy(now_s=13.2).routes
    assert later.throughput_rps.measured == 4.0


def test_what_submitters_saw_of_another_generation_is_left_out() -> None:
    assert Ledger(served()).with_seen(seen(5, 44.0, generation=2), 0.0).accuracy(0.0).routes == ()


def test_slow_stages_and_waiting_for_them_explain_latency() -> None:
    ledger = Ledger(served())
    assert ledger.explained_ms(0) == 0.0
    slow = ledger.with_timing(timing(9, 49.0, wait_ms=15.0)).with_timing(timing(9, 4.0, stage="r0s0", device="pi"))
    assert slow.explained_ms(0) == pytest.approx(45.0)
    assert slow.explained_ms(1) == 0.0
    assert (slow.slowness(0), slow.slowness(1), ledger.slowness(0)) == (pytest.approx(2.5), 1.0, 1.0)


def test_the_error_is_weighted_by_frames() -> None:
    good, bad = Compared(predicted=10, measured=10, samples=90), Compared(predicted=10, measured=20, samples=10)
    assert mean_error([good, bad]) == pytest.approx(0.1)
    assert mean_error([]) == mean_error([Compared(predicted=0, measured=1, samples=1)]) == 0.0
