"""A planner that starts again goes on from what the broker kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.planner.events import (
    Action,
    ClearCurrent,
    ClearNext,
    Decide,
    Lost,
    PublishCurrent,
    PublishDecision,
    PublishNext,
    Refused,
    Wanted,
)
from services.planner.resuming import Kept, resume
from services.planner.rollout_state import Rollout
from tests.services.planner.rollout.stories import (
    SHA,
    WISH,
    Story,
    decision,
    holding,
    kinds,
    one,
    plan,
)


def resumed(
    kept: Kept, *, card_sha: str | None = SHA, usable: frozenset[str] = frozenset({"a", "b"})
) -> tuple[Rollout, tuple[Action, ...]]:
    return resume("cats", replace(kept, generation=5), card_sha=card_sha, usable=usable, now_s=0.0)


def test_a_restarted_planner_tells_a_refusal_though_the_broker_kept_the_same() -> None:
    refusal = decision("failed", error="no devices")
    rollout, _ = resumed(Kept(WISH, decision=refusal))
    assert Story(rollout).tell(Refused(rollout.ticket, refusal)) == [PublishDecision(refusal)]


def test_a_restarted_planner_adopts_a_good_plan_and_says_it_again_unchanged() -> None:
    good, told = plan("a[0:4)", 5), decision("serving", generation=5)
    rollout, actions = resumed(Kept(WISH, current=good, decision=told))
    assert (rollout.phase, actions) == ("serving", (PublishCurrent(good), PublishDecision(told)))
    story = Story(rollout)
    assert story.tell(Wanted(WISH)) == []
    assert one(story.tell(Lost("a")), Decide).serving == good
    assert story.planned("b[0:4)").generation == 6


def test_a_planner_that_died_between_switching_and_telling_tells_after_its_restart() -> None:
    rollout, actions = resumed(Kept(WISH, current=plan("a[0:4)", 5), decision=decision("preparing", generation=5)))
    assert rollout.phase == "serving"
    assert one(actions, PublishDecision).decision.state == "serving"


def test_a_restarted_planner_goes_on_preparing() -> None:
    upcoming = plan("b[0:4)", 6)
    rollout, actions = resumed(
        Kept(WISH, current=plan("a[0:4)", 5), next=upcoming, decision=decision("preparing", generation=6))
    )
    assert rollout.phase == "preparing"
    assert kinds(actions) == [PublishCurrent, PublishNext, PublishDecision]
    story = Story(rollout, now_s=1.0)
    assert one(story.tell(holding("b", upcoming)), PublishCurrent).plan.generation == 6


@pytest.mark.parametrize(
    ("changes", "others"),
    [
        ({"current": None}, {}),
        ({"decision": None}, {}),
        ({"decision": decision("serving", generation=4)}, {}),
        ({"decision": decision("serving", generation=5, requested=0.5)}, {}),
        ({"decision": decision("failed", generation=0, error="no devices")}, {}),
        ({}, {"usable": frozenset({"b"})}),
        ({}, {"card_sha": "b" * 64}),
        ({}, {"card_sha": None}),
    ],
    ids=["no plan", "no decision", "older plan", "older wish", "failed", "device gone", "other card", "no card"],
)
def test_a_restarted_planner_decides_anew_when_the_plan_does_not_stand(
    changes: dict[str, Any], others: dict[str, Any]
) -> None:
    good = Kept(WISH, current=plan("a[0:4)", 5), decision=decision("serving", generation=5))
    rollout, actions = resumed(replace(good, **changes), **others)
    assert one(actions, Decide).serving is None
    assert Story(rollout).planned("b[0:4)").generation == 6


def test_a_restarted_planner_drops_a_preparation_that_nobody_wants_any_more() -> None:
    told = decision("serving", generation=5)
    rollout, actions = resumed(Kept(WISH, current=plan("a[0:4)", 5), next=plan("b[0:4)", 4), decision=told))
    assert (rollout.phase, kinds(actions)) == ("serving", [PublishCurrent, ClearNext, PublishDecision])


def test_a_restarted_planner_clears_what_was_taken_back_meanwhile() -> None:
    told = decision("serving", generation=5)
    rollout, actions = resumed(Kept(None, current=plan("a[0:4)", 5), next=plan("b[0:4)", 6), decision=told))
    assert kinds(actions) == [ClearNext, ClearCurrent, PublishDecision]
    assert one(actions, PublishDecision).decision.state == "removed"
    assert resumed(Kept(None, decision=decision("removed", generation=5)))[1] == ()
    story = Story(rollout)
    story.tell(Wanted(WISH))
    assert story.planned("a[0:4)").generation == 6


def test_a_restart_while_a_better_plan_gets_ready_leaves_the_served_one_in_service_whatever_comes_of_it() -> None:
    good, upcoming = plan("a[0:4)", 5), plan("a[0:2) -> b[2:4)", 6)
    told = decision("preparing", generation=6).model_copy(update={"beside": 5})
    kept = Kept(WISH, current=good, next=upcoming, decision=told)
    rollout, actions = resumed(kept, usable=frozenset({"a"}))
    assert (rollout.phase, kinds(actions)) == ("serving", [PublishCurrent, ClearNext, PublishDecision])
    story = Story(resumed(kept)[0], now_s=1.0)
    assert (story.rollout.phase, story.rollout.optional) == ("preparing", True)
    said = story.tell(Lost("b"))
    assert kinds(said) == [ClearNext, PublishDecision]
    again = one(said, PublishDecision).decision
    assert (again.state, again.generation, again.plan, again.beside) == ("serving", 5, str(good), 0)


def test_a_restart_while_an_answer_to_a_newer_wish_gets_ready_keeps_the_older_plan_only_until_then() -> None:
    kept = Kept(WISH, current=plan("a[0:4)", 5), next=plan("b[0:4)", 6), decision=decision("preparing", generation=6))
    story = Story(resumed(kept)[0], now_s=1.0)
    assert (story.rollout.optional, story.rollout.stands) == (False, False)
    assert kinds(story.tell(Lost("b"))) == [ClearNext, Decide]
