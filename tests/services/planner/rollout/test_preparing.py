"""A plan gets ready: what counts as evidence, as progress, and who is left out when it does not."""

from __future__ import annotations

import pytest

from services.planner.events import (
    ClearNext,
    Decide,
    Held,
    Improved,
    Profiling,
    PublishCurrent,
    PublishDecision,
    PublishNext,
    Refused,
    Tick,
    Wanted,
)
from tests.services.planner.rollout.stories import (
    PATIENCE,
    WISH,
    Story,
    decision,
    drifted,
    holding,
    kinds,
    one,
    plan,
    served,
)


def test_a_wish_is_decided_prepared_and_then_served() -> None:
    story = Story()
    assert story.tell(Wanted(WISH)) == [Decide(1, WISH, {})]
    made = story.planned("a[0:2) -> b[2:4)")
    assert made.generation == 1
    assert story.tell(holding("a", made, "loading", progress=0.5), holding("a", made)) == []
    said = story.tell(holding("b", made))
    assert kinds(said) == [PublishCurrent, ClearNext, PublishDecision]
    assert one(said, PublishCurrent).plan == made
    assert story.rollout.phase == "serving"
    assert one(said, PublishDecision).decision.state == "serving"


def test_a_device_with_two_stages_is_ready_only_with_both() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    made = story.planned("a[0:2) -> b[2:3) -> a[3:4)")
    both = holding("a", made).held
    half = both.model_copy(update={"stages": both.stages[:1]})
    assert story.tell(holding("b", made), Held(half)) == []
    assert PublishCurrent in kinds(story.tell(Held(both)))


@pytest.mark.parametrize("change", [{"generation": 7}, {"card_sha": "b" * 64}, {"last": 3}, {"deployment": "dogs"}])
def test_stages_of_another_plan_are_no_evidence(change: dict[str, object]) -> None:
    story = Story()
    story.tell(Wanted(WISH))
    made = story.planned("a[0:4)")
    held = holding("a", made).held
    other = held.model_copy(update={"stages": (held.stages[0].model_copy(update=change),)})
    assert story.tell(Held(other)) == []


def test_a_device_that_was_ready_and_no_longer_is_holds_the_switch_back() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    made = story.planned("a[0:2) -> b[2:4)")
    story.tell(holding("a", made), holding("a", made, "loading"))
    assert story.tell(holding("b", made)) == []
    assert PublishCurrent in kinds(story.tell(holding("a", made)))


def test_progress_in_crumbs_is_none() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    made = story.planned("a[0:4)")
    while story.rollout.phase == "preparing" and story.now_s < 100.0:
        story.now_s += 1.0
        story.tell(holding("a", made, "loading", progress=story.now_s * 1e-6), Tick())
    assert story.now_s <= 1.0 + PATIENCE.ready_s
    assert "no progress" in story.rollout.excluded["a"]


def test_steady_progress_that_takes_for_ever_is_planned_around_in_the_end() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    made = story.planned("a[0:2) -> b[2:4)")
    story.tell(holding("b", made))
    story.now_s = PATIENCE.ready_most_s
    said = story.tell(holding("a", made, "loading", progress=0.9), Tick())
    assert set(one(said, Decide).excluded) == {"a"}


def test_a_stage_that_fails_to_load_leaves_its_device_out() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    made = story.planned("a[0:2) -> b[2:4)")
    said = story.tell(holding("b", made, "failed", error="disk full"))
    assert one(said, Decide).excluded == {"b": "could not load its stage: disk full"}


def test_a_device_that_makes_no_progress_is_left_out_after_the_timeout() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    made = story.planned("a[0:2) -> b[2:4)")
    story.tell(holding("a", made))
    story.now_s = 9.9
    assert story.tell(Tick()) == []
    story.now_s = 10.0
    assert set(one(story.tell(Tick()), Decide).excluded) == {"b"}


def test_progress_counts_as_life() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    made = story.planned("a[0:4)")
    for step in range(1, 9):
        story.now_s = 9.0 * step
        assert story.tell(holding("a", made, "loading", progress=step / 10), Tick()) == []
    story.now_s += 9.0
    story.tell(holding("a", made, "loading", progress=0.8))
    story.now_s += 1.0
    assert Decide in kinds(story.tell(Tick()))


def test_devices_left_out_get_another_chance_when_nothing_works_without_them() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    made = story.planned("a[0:4)")
    story.tell(holding("a", made, "failed", error="hiccup"))
    story.tell(Refused(story.rollout.ticket, decision("failed", error="no devices")))
    story.now_s = 29.0
    assert story.tell(Tick()) == []
    story.now_s = 30.0
    assert one(story.tell(Tick()), Decide).excluded == {}


def test_a_device_left_out_comes_back_in_with_a_new_life_or_a_new_wish() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    made = story.planned("a[0:2) -> b[2:4)")
    story.tell(holding("b", made, "failed"))
    story.tell(Improved("b"))
    assert story.rollout.excluded == {}
    story.tell(holding("b", story.planned("a[0:2) -> b[2:4)"), "failed"))
    assert one(story.tell(Wanted(WISH.model_copy(update={"requested": 5.0}))), Decide).excluded == {}


def test_profiling_is_told_only_while_it_is_asked_for() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    waiting = decision("profiling")
    assert story.tell(Profiling(1, waiting)) == [PublishDecision(waiting)]
    story.planned("a[0:4)")
    assert story.tell(Profiling(1, waiting)) == []


def test_a_device_left_out_is_considered_again_after_a_while_that_doubles() -> None:
    story = served()
    waits = []
    for _ in range(3):
        upcoming = one(drifted(story, "a[0:2) -> c[2:4)"), PublishNext).plan
        story.tell(holding("c", upcoming, "failed", error="no room"))
        left_s = story.now_s
        while "c" in story.rollout.excluded:
            story.now_s += 50.0
            assert story.tell(Tick()) == []
        waits.append(story.now_s - left_s)
    assert waits == [PATIENCE.out_s, 2 * PATIENCE.out_s, 4 * PATIENCE.out_s]


def test_a_generation_that_no_worker_can_hold_is_not_believed() -> None:
    story = Story()
    story.tell(Wanted(WISH), holding("z", plan("z[0:4)", generation=2**53)))
    assert story.planned("a[0:4)").generation == 1


def test_a_generation_that_a_worker_still_holds_is_never_given_out_again() -> None:
    story = Story()
    story.tell(Wanted(WISH), holding("z", plan("z[0:4)", generation=41)))
    assert story.planned("a[0:4)").generation == 42
