"""`stageline top` in a narrow window leaves columns out and cuts nothing."""

from __future__ import annotations

import io

import pytest
from made_up_plans import made_up_plan
from rich.console import Console

from schemas.accuracy import Accuracy, Compared, RouteAccuracy, StageAccuracy
from schemas.plan import Route, Stage
from schemas.stages import HeldStage, StagesHeld
from schemas.topics import DEVICE_STAGES, PLAN_ACCURACY, PLAN_CURRENT
from stageline.top_picture import Picture
from stageline.top_view import render

DEVICES = ("kitchen-raspberry-pi4", "jetson-xavier")
NAME = "efficientnet-lite0"


def shown(width: int, *, routes_seen: bool = True) -> str:
    picture = Picture()
    routes = tuple(Route(stages=(Stage(device=one, first=0, last=17),)) for one in DEVICES)
    plan = made_up_plan(routes, deployment=NAME, generation=12, model=NAME)
    took = Compared(predicted=123.4, measured=250.1, samples=300)
    accuracy = Accuracy(
        deployment=NAME, generation=12, error=0.07,
        stages=tuple(StageAccuracy(stage=f"r{i}s0", device=one, compute_ms=took) for i, one in enumerate(DEVICES)),
        routes=tuple(RouteAccuracy(route=i, latency_ms=took, throughput_rps=took) for i in range(2 * routes_seen)),
    )  # fmt: skip
    said = [(PLAN_CURRENT, {"deployment": NAME}, plan), (PLAN_ACCURACY, {"deployment": NAME}, accuracy)]
    for index, device in enumerate(DEVICES):
        stage = HeldStage(
            deployment=NAME, generation=12, stage=f"r{index}s0", model=NAME, card_sha="0" * 64, first=0, last=17,
            state="ready",
        )  # fmt: skip
        held = StagesHeld(device=device, boot_id="b1", online=True, stages=(stage,))
        said.append((DEVICE_STAGES, {"device": device}, held))
    for topic, parameters, message in said:
        picture = picture.with_message(topic, parameters, message, retained=True, now_s=0.0)
    console = Console(file=io.StringIO(), width=width)
    console.print(render(picture, 0.0, width=width, note="Ctrl-C leaves"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_names_are_whole_and_nothing_is_cut(width: int) -> None:
    text = shown(width)
    assert "…" not in text
    for name in (*DEVICES, NAME, "ready", "device", "state", "off", "+103%"):
        assert name in text
    assert "Ctrl-C leaves" in text


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_line_is_wider_than_the_window(width: int) -> None:
    assert max(map(len, shown(width).splitlines())) <= width


def test_a_wide_window_shows_every_column() -> None:
    text = shown(180)
    assert all(heading in text for heading in ("up/down Mbit/s", "in/out kB", "codec ms", "expected ms", "took ms"))
    assert "predictions off by 7%" in text


@pytest.mark.parametrize("seen", [True, False])
def test_routes_have_a_table_once_there_is_something_to_say_of_one(seen: bool) -> None:
    assert ("Routes" in shown(160, routes_seen=seen)) is seen
