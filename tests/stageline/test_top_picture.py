"""What `stageline top` makes of what it hears: who hangs, who is drained, which figures belong to which plan."""

from __future__ import annotations

import io

import pytest
from made_up_plans import made_up_plan
from rich.console import Console

from schemas.accuracy import Accuracy, Compared, RouteAccuracy, StageAccuracy
from schemas.deployment import Decision
from schemas.device import DeviceStatus, Duty
from schemas.plan import ExitRule
from schemas.stages import ExitSeen, HeldStage, StagesHeld, StageTiming, Timing
from schemas.topics import (
    DEVICE_DUTY,
    DEVICE_STAGES,
    DEVICE_STATUS,
    DEVICE_TIMING,
    PLAN_ACCURACY,
    PLAN_CURRENT,
    PLAN_DECISION,
)
from stageline.top_picture import Picture
from stageline.top_view import document, render

HELD = HeldStage(
    deployment="cats", generation=3, stage="r0s0", model="m", card_sha="0" * 64, first=0, last=4, state="ready"
)


def heard(picture: Picture, topic, message, now_s: float = 0.0, **parameters: str) -> Picture:
    return picture.with_message(topic, parameters or {"device": "pi4"}, message, retained=False, now_s=now_s)


def pi4(*, stages: tuple[HeldStage, ...] = (HELD,)) -> Picture:
    picture = heard(Picture(), DEVICE_STATUS, DeviceStatus(device="pi4", boot_id="m1", online=True))
    return heard(picture, DEVICE_STAGES, StagesHeld(device="pi4", boot_id="b1", online=True, stages=stages))


def timing(**more) -> Timing:
    return Timing(device="pi4", boot_id="b1", period_s=1.0, queue_depth=0, **more)


def state(picture: Picture, now_s: float = 0.0) -> str:
    return picture.state(picture.fleet.devices["pi4"], now_s)[0]


def test_a_worker_that_says_nothing_is_silent_and_one_that_speaks_is_not() -> None:
    picture = heard(pi4(), DEVICE_TIMING, timing(), now_s=10.0)
    assert not state(picture, 11.0).startswith("silent")
    assert state(picture, 15.0) == "silent 5 s"
    assert document(picture, 15.0)["devices"][0]["silent_s"] == pytest.approx(5.0)
    assert not state(heard(picture, DEVICE_TIMING, timing(), now_s=15.5), 16.0).startswith("silent")


def test_nobody_is_silent_who_could_not_have_been_heard_yet() -> None:
    assert not state(pi4(), 1.0).startswith("silent")
    assert state(pi4(), 4.0) == "silent 4 s"


def test_a_worker_that_is_stuck_says_so_itself() -> None:
    assert state(heard(pi4(), DEVICE_TIMING, timing(stuck_s=12.0))) == "stuck 12 s"


def test_a_device_is_draining_until_it_holds_nothing() -> None:
    duty = Duty(device="pi4", duty="drain")
    assert state(heard(pi4(), DEVICE_DUTY, duty)) == "draining"
    drained = heard(pi4(stages=()), DEVICE_DUTY, duty)
    assert state(drained) == "drained"
    assert document(drained, 0.0)["devices"][0]["duty"] == "drain"
    assert "drain" not in state(heard(drained, DEVICE_DUTY, None))


def lines(picture: Picture) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(render(picture, 0.0))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_deployment_without_a_plan_says_why_and_what_served_before_is_not_shown_as_if_it_did() -> None:
    plan = made_up_plan("pi4[0:4)", generation=3, model="m", card_sha="0" * 64)
    failed = Decision(deployment="cats", generation=0, requested=1, state="failed", error="no device left")
    refused = heard(heard(pi4(), PLAN_CURRENT, plan, deployment="cats"), PLAN_DECISION, failed, deployment="cats")
    assert "cats: generation 3" in lines(refused)
    assert "was refused: no device left" in lines(refused)
    dead = heard(refused, DEVICE_STAGES, StagesHeld(device="pi4", boot_id="b2", online=True))
    assert "cats: no plan: no device left" in lines(dead)
    assert "generation 3" not in lines(dead)
    assert document(dead, 0.0)["deployments"] == {
        "cats": {"plan": None, "generation": None, "state": "failed", "error": "no device left", "exits": []}
    }
    measuring = Decision(deployment="dogs", generation=0, requested=1, state="profiling")
    new = heard(dead, PLAN_DECISION, measuring, deployment="dogs")
    assert "dogs: profiling" in lines(new)
    removed = measuring.model_copy(update={"state": "removed"})
    assert "dogs" not in lines(heard(new, PLAN_DECISION, removed, deployment="dogs"))


def test_what_was_predicted_is_shown_for_the_plan_that_is_served_and_no_other() -> None:
    took = Compared(predicted=10.0, measured=12.0, samples=40)
    accuracy = Accuracy(
        deployment="cats", generation=3, error=0.2,
        stages=(StageAccuracy(stage="r0s0", device="pi4", compute_ms=took),),
        routes=(RouteAccuracy(route=0, latency_ms=took, throughput_rps=took),),
    )  # fmt: skip
    plan = made_up_plan("pi4[0:4)", generation=3, model="m", card_sha="0" * 64)
    picture = heard(pi4(), PLAN_CURRENT, plan, deployment="cats")
    picture = heard(picture, PLAN_ACCURACY, accuracy, deployment="cats")
    shown = picture.stage_accuracy(HELD)
    assert shown is not None
    assert shown.compute_ms == took
    assert document(picture, 0.0)["accuracy"]["cats"]["error"] == 0.2
    later = heard(picture, PLAN_CURRENT, plan.model_copy(update={"generation": 4}), deployment="cats")
    assert later.stage_accuracy(HELD) is None
    assert document(later, 0.0)["accuracy"] == {}


def test_top_tells_where_requests_leave_and_where_they_were_to() -> None:
    rules = (
        ExitRule(name="exit1", block=0, threshold=0.8, share=0.4),
        ExitRule(name="exit2", block=2, threshold=0.9, share=0.3),
    )
    served = made_up_plan("pi4[0:4)", generation=3, model="m", card_sha="0" * 64, exits=rules)
    picture = heard(pi4(), PLAN_CURRENT, served, deployment="cats")
    assert [one.text for one in picture.left("cats", 0.0)] == ["exit1 - (expected 40%)", "exit2 - (expected 30%)"]
    stage = StageTiming(
        deployment="cats", generation=3, stage="r0s0", frames=10, wait_ms=0, compute_ms=1, codec_ms=0, bytes_in=1,
        bytes_out=1, exits=(ExitSeen(name="exit1", met=10, left=8), ExitSeen(name="exit2", met=2, left=1)),
    )  # fmt: skip
    picture = heard(picture, DEVICE_TIMING, timing(stages=(stage,)))
    exits = document(picture, 0.0)["deployments"]["cats"]["exits"]
    assert [(one["name"], one["expected"], one["now"]) for one in exits] == [("exit1", 0.4, 0.8), ("exit2", 0.3, 0.1)]
    screen = io.StringIO()
    Console(file=screen, width=200).print(render(picture, 0.0))
    assert "leave at exit1 80% (expected 40%), exit2 10% (expected 30%)" in screen.getvalue()
