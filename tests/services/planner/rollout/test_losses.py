"""Devices are lost, fail, or do not hold what they should serve, and are planned around."""

from __future__ import annotations

import pytest

from schemas.stages import StagesHeld
from services.planner.events import (
    ClearNext,
    Decide,
    Held,
    Improved,
    Lost,
    Planned,
    PublishCurrent,
    Tick,
    Unfit,
    Wanted,
)
from tests.services.planner.rollout.stories import (
    PATIENCE,
    WISH,
    Story,
    decision,
    holding,
    kinds,
    nothing,
    one,
    plan,
    served,
    serving,
)


def test_a_device_lost_while_it_gets_ready_is_planned_around_at_once() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    made = story.planned("a[0:2) -> b[2:4)")
    story.tell(holding("a", made))
    assert kinds(story.tell(Lost("b"))) == [ClearNext, Decide]
    assert kinds(story.tell(holding("b", made))) == []


def test_a_device_lost_while_it_serves_is_planned_around_at_once() -> None:
    story = served()
    said = story.tell(Lost("b"))
    assert one(said, Decide).serving == story.rollout.current
    again = story.planned("a[0:4)")
    assert again.generation == 2
    assert one(story.tell(holding("a", again)), PublishCurrent).plan == again


def test_a_lost_device_that_serves_nothing_changes_nothing() -> None:
    assert served().tell(Lost("c")) == []


def test_a_loss_while_deciding_asks_again_only_if_the_plan_counts_on_what_was_lost() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    assert story.tell(Lost("a", "its worker hangs"), Lost("z")) == []
    asked = one(story.tell(Planned(1, plan("a[0:2) -> b[2:4)"), decision())), Decide)
    assert (asked.ticket, asked.cause) == (2, "a: its worker hangs")
    assert story.planned("b[0:4)").generation == 1


def test_a_device_that_comes_and_goes_does_not_restart_planning() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    for _ in range(100):
        assert story.tell(Lost("z"), Improved("z")) == []
    assert story.planned("a[0:2) -> z[2:4)").generation == 1


def test_a_stage_that_fails_while_it_serves_leaves_its_device_out() -> None:
    story = served()
    said = story.tell(holding("b", serving(story), "failed", error="out of memory"))
    assert one(said, Decide).excluded == {"b": "could not load its stage: out of memory"}


def test_a_device_that_joins_a_good_plan_does_not_disturb_it() -> None:
    assert served().tell(Improved("c"), Improved(), Tick()) == []


@pytest.mark.parametrize("state", ["nothing", "draining"])
def test_a_device_that_does_not_hold_what_it_serves_is_planned_around_after_two_seconds(state: str) -> None:
    story = served()
    said = nothing("b") if state == "nothing" else holding("b", serving(story), "draining")
    assert story.tell(said, Tick()) == []
    story.now_s += PATIENCE.absent_s - 0.1
    assert story.tell(said, Tick()) == []
    story.now_s += 0.2
    asked = one(story.tell(Tick()), Decide)
    assert (set(asked.excluded), asked.serving, asked.hurry) == ({"b"}, serving(story), True)
    assert asked.cause == "b has not held what it should serve for 2.1 s"


def test_a_device_that_takes_its_stage_up_again_in_time_goes_on_serving() -> None:
    story = served()
    for _ in range(5):
        story.tell(nothing("b"))
        story.now_s += PATIENCE.absent_s - 0.1
        assert story.tell(Tick(), holding("b", serving(story)), Tick()) == []


def test_a_device_that_loads_what_is_served_has_as_long_as_one_that_gets_ready() -> None:
    story = served()
    story.tell(holding("b", serving(story), "loading", progress=0.5))
    story.now_s += PATIENCE.ready_s - 0.1
    assert story.tell(Tick()) == []
    story.now_s += 0.1
    assert "still been loading" in one(story.tell(Tick()), Decide).cause


def test_a_device_that_is_lost_says_nothing_of_what_it_holds() -> None:
    story = served()
    story.tell(Held(StagesHeld(device="b", boot_id="b1", online=False)))
    assert story.rollout.absent == {}


def test_a_device_that_is_unfit_for_the_plan_that_is_served_is_planned_around() -> None:
    story = served()
    assert story.tell(Unfit(7, "b", "swallows frames"), Unfit(1, "c", "swallows frames")) == []
    asked = one(story.tell(Unfit(1, "b", "swallows frames")), Decide)
    assert (asked.excluded, asked.hurry) == ({"b": "swallows frames"}, True)
    assert story.tell(Unfit(1, "b", "swallows frames")) == []
