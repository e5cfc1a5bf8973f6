"""A plan that is merely better, or smaller, gets ready beside the one that serves."""

from __future__ import annotations

import pytest

from services.planner.events import (
    ClearNext,
    Decide,
    Held,
    Lost,
    PublishCurrent,
    PublishDecision,
    PublishNext,
    Refused,
    Squeezed,
    Tick,
)
from tests.services.planner.rollout.stories import (
    PATIENCE,
    decision,
    drifted,
    holding,
    kinds,
    nothing,
    one,
    served,
    serving,
)


def test_a_plan_that_drifted_is_replaced_make_before_break_and_the_cause_is_told() -> None:
    story = served()
    said = drifted(story, "a[0:4)")
    assert kinds(said) == [PublishNext, PublishDecision]
    assert "21 ms" in one(said, PublishDecision).decision.cause
    assert one(said, PublishDecision).decision.beside == 1
    assert serving(story).generation == 1
    said = story.tell(holding("a", one(said, PublishNext).plan))
    assert (one(said, PublishCurrent).plan.generation, one(said, PublishDecision).decision.state) == (2, "serving")


def test_a_review_of_a_plan_that_is_no_longer_served_moves_nothing() -> None:
    story = served()
    assert drifted(story, "a[0:4)", generation=7) == []
    story.tell(Lost("b"))
    assert drifted(story, "a[0:4)") == []


@pytest.mark.parametrize("trouble", ["lost", "failed", "late"])
def test_a_better_plan_that_does_not_get_ready_leaves_the_served_one_as_it_was(trouble: str) -> None:
    story = served()
    before = story.rollout.decision
    upcoming = one(drifted(story, "a[0:2) -> c[2:4)"), PublishNext).plan
    both = holding("a", serving(story)).held.stages + holding("a", upcoming).held.stages
    story.tell(Held(holding("a", upcoming).held.model_copy(update={"stages": both})))
    if trouble == "lost":
        said = story.tell(Lost("c"))
    elif trouble == "failed":
        said = story.tell(holding("c", upcoming, "failed", error="disk full"))
    else:
        story.now_s += PATIENCE.ready_s
        said = story.tell(Tick())
    assert kinds(said) == [ClearNext, PublishDecision]
    assert one(said, PublishDecision).decision == before
    assert (story.rollout.phase, serving(story).generation) == ("serving", 1)
    assert ("c" in story.rollout.excluded) == (trouble != "lost")
    assert one(drifted(story, "a[0:4)"), PublishNext).plan.generation == 3


def test_a_device_lost_that_serves_while_a_better_plan_gets_ready_is_planned_around() -> None:
    story = served()
    drifted(story, "a[0:4)")
    said = story.tell(Lost("b", "its worker hangs"))
    assert kinds(said) == [ClearNext, Decide]
    asked = one(said, Decide)
    assert (asked.serving, asked.cause, asked.hurry) == (serving(story), "b: its worker hangs", True)


def test_a_stage_that_fails_in_service_while_a_better_plan_gets_ready_is_planned_around() -> None:
    story = served()
    drifted(story, "a[0:4)")
    said = story.tell(holding("b", serving(story), "failed", error="out of memory"))
    assert kinds(said) == [ClearNext, Decide]


def test_a_device_that_drops_its_stage_while_a_better_plan_gets_ready_is_planned_around() -> None:
    story = served()
    drifted(story, "a[0:4)")
    story.tell(nothing("b"))
    story.now_s += PATIENCE.absent_s
    assert kinds(story.tell(Tick())) == [ClearNext, Decide]


def test_a_deployment_that_holds_more_than_its_share_makes_room_for_another_or_stays() -> None:
    story = served()
    asked = one(story.tell(Squeezed("dogs")), Decide)
    assert (asked.cause, asked.serving, asked.hurry) == ("dogs needs its share of memory", serving(story), True)
    before = story.rollout.served
    assert story.tell(Refused(asked.ticket, decision("failed", error="no plan"))) == [
        PublishDecision(before) for _ in range(1) if before
    ]
    assert (story.rollout.phase, serving(story).generation) == ("serving", 1)
    story.tell(Squeezed("dogs"))
    made = story.planned("a[0:4)")
    assert PublishCurrent in kinds(story.tell(holding("a", made)))


def test_a_device_lost_while_room_is_made_is_asked_about_only_where_it_serves() -> None:
    story = served()
    story.tell(Squeezed("dogs"))
    assert story.tell(Lost("c")) == []
    assert one(story.tell(Lost("b")), Decide).cause == "b: it was lost"
    assert not story.rollout.optional
