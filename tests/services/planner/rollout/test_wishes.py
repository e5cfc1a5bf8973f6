"""What is asked for anew, taken back or removed while something is decided, prepared or served."""

from __future__ import annotations

import pytest

from schemas.stages import StagesHeld
from services.planner.events import (
    ClearCurrent,
    ClearNext,
    Decide,
    Event,
    Forget,
    Held,
    Lost,
    Planned,
    PublishCurrent,
    PublishDecision,
    Refused,
    Tick,
    Unfit,
    Wanted,
)
from tests.services.planner.rollout.stories import (
    WISH,
    Story,
    decision,
    holding,
    kinds,
    one,
    plan,
    served,
    serving,
)


def test_a_second_wish_supersedes_the_first_while_it_is_decided() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    newer = WISH.model_copy(update={"objective": "throughput", "requested": 2.0})
    assert one(story.tell(Wanted(newer)), Decide) == Decide(2, newer, {})
    assert story.tell(Planned(1, plan("a[0:4)"), decision()), Refused(1, decision("failed"))) == []


def test_a_second_wish_supersedes_the_first_while_it_is_prepared() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    made = story.planned("a[0:4)")
    said = story.tell(Wanted(WISH.model_copy(update={"requested": 2.0})))
    assert kinds(said) == [ClearNext, Decide]
    assert story.tell(holding("a", made)) == []
    assert story.planned("b[0:4)").generation == 2


def test_the_same_wish_heard_again_changes_nothing() -> None:
    story = served()
    assert story.tell(Wanted(WISH)) == []


def test_a_new_wish_keeps_the_old_plan_serving_until_the_new_one_is_ready() -> None:
    story = served()
    said = story.tell(Wanted(WISH.model_copy(update={"requested": 2.0})))
    made = story.planned("c[0:4)")
    assert kinds(said) == [Decide]
    assert one(said, Decide).serving is None
    assert serving(story).generation == 1
    assert one(story.tell(holding("c", made)), PublishCurrent).plan.generation == 2


OTHER = WISH.model_copy(update={"requested": 2.0, "exclude": ("a",)})


def refused_change() -> Story:
    story = served("a[0:4)")
    story.tell(Wanted(OTHER), Refused(2, decision("failed", requested=2.0, error="no plan")))
    assert story.rollout.phase == "failed"
    return story


def test_a_change_that_was_refused_and_is_taken_back_leaves_the_plan_that_serves_as_it_is() -> None:
    story = refused_change()
    serving_now = serving(story)
    said = story.tell(Wanted(WISH))
    assert kinds(said) == [Forget, PublishDecision]
    told = one(said, PublishDecision).decision
    assert (told.state, told.requested, told.generation) == ("serving", WISH.requested, serving_now.generation)
    assert (story.rollout.phase, story.rollout.stands, serving(story)) == ("serving", True, serving_now)
    story.now_s += 100.0
    assert story.tell(Tick()) == []
    assert kinds(story.tell(Lost("a"))) == [Decide]


def test_a_change_that_is_taken_back_while_it_is_prepared_is_dropped() -> None:
    story = served("a[0:4)")
    story.tell(Wanted(OTHER))
    story.planned("b[0:4)")
    assert kinds(story.tell(Wanted(WISH))) == [Forget, ClearNext, PublishDecision]
    assert story.rollout.next is None


@pytest.mark.parametrize("trouble", [Lost("a"), Held(StagesHeld(device="a", boot_id="b2", online=True))])
def test_a_change_that_is_taken_back_after_something_happened_to_the_plan_is_decided_anew(trouble: Event) -> None:
    story = refused_change()
    story.tell(trouble)
    assert kinds(story.tell(Wanted(WISH))) == [Decide]


def test_a_plan_that_was_found_wanting_is_not_gone_back_to() -> None:
    story = served("a[0:4)")
    story.tell(Unfit(1, "a", "it hands nothing on"), Wanted(OTHER))
    assert kinds(story.tell(Wanted(WISH))) == [Decide]


def test_removal_clears_everything_and_keeps_the_generation_readable() -> None:
    story = served()
    story.tell(Wanted(WISH.model_copy(update={"requested": 2.0})))
    story.planned("a[0:4)")
    said = story.tell(Wanted(None))
    assert kinds(said) == [Forget, ClearNext, ClearCurrent, PublishDecision]
    told = one(said, PublishDecision).decision
    assert (told.state, told.generation) == ("removed", 2)
    assert story.tell(Wanted(None)) == []
    story.tell(Wanted(WISH))
    assert story.planned("a[0:4)").generation == 3


def test_a_late_answer_does_not_bring_a_removed_deployment_back() -> None:
    story = Story()
    story.tell(Wanted(WISH), Wanted(None))
    assert story.tell(Planned(1, plan("a[0:4)"), decision())) == []
