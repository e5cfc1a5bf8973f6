"""What could not be planned is told, and tried again when there is a reason to."""

from __future__ import annotations

from dataclasses import replace

from services.planner.events import (
    Decide,
    Improved,
    PublishDecision,
    Refused,
    Squeeze,
    Tick,
    Wanted,
)
from tests.services.planner.rollout.stories import (
    PATIENCE,
    WISH,
    Story,
    decision,
    holding,
    kinds,
    one,
)


def test_a_refusal_is_told_and_tried_again_when_a_device_becomes_usable() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    refusal = decision("failed", error="no devices")
    assert story.tell(Refused(1, refusal)) == [PublishDecision(refusal)]
    assert story.tell(Improved("a")) == []
    story.now_s = 1.0
    assert kinds(story.tell(Tick())) == [Decide]


def test_every_refusal_is_tried_again_and_told_again_only_in_other_words() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    refusal = decision("failed", error="a did not measure in time")
    story.tell(Refused(1, refusal))
    story.now_s = 30.0
    assert one(story.tell(Tick()), Decide).ticket == 2
    assert story.tell(Refused(2, refusal)) == []
    story.now_s = 60.0
    assert one(story.tell(Tick()), Decide).ticket == 3
    other = decision("failed", error="no devices")
    assert story.tell(Refused(3, other)) == [PublishDecision(other)]


def test_a_refusal_is_tried_again_when_the_library_changes() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    story.tell(Refused(1, decision("failed", error="unknown model")))
    assert kinds(story.tell(Improved())) == [Decide]


def test_one_that_waits_for_room_has_the_others_told_and_tries_again_soon() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    refusal = decision("failed", error="dogs must make room on a first")
    refused = Refused(1, refusal, claims=frozenset({"a"}), over=("dogs",))
    assert story.tell(refused) == [PublishDecision(refusal), Squeeze(("dogs",))]
    assert story.rollout.claims == {"a"}
    story.now_s = PATIENCE.room_s
    assert one(story.tell(Tick()), Decide).ticket == 2
    assert kinds(story.tell(replace(refused, ticket=2))) == [Squeeze]
    story.now_s += PATIENCE.room_s
    assert story.tell(Tick()) == []
    story.now_s += PATIENCE.retry_s
    story.tell(Tick())
    story.planned("a[0:4)")
    assert story.rollout.claims == frozenset()


def test_every_question_says_why_it_is_asked_now() -> None:
    story = Story()
    assert one(story.tell(Wanted(WISH)), Decide).cause == "asked for"
    story.tell(Refused(story.rollout.ticket, decision("failed", error="no devices")))
    assert one(story.tell(Improved()), Decide).cause == "the library changed"
    made = story.planned("a[0:4)")
    asked = one(story.tell(holding("a", made, "failed", error="disk full")), Decide)
    assert asked.cause == "a could not load its stage: disk full"
