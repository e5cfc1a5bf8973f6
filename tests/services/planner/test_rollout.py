"""Make before break as values: every event, what it leads to, and what must never happen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.deployment import Decision, Deployment
from schemas.parts import stage_id
from schemas.plan import Plan, Route
from schemas.plan_text import parse_route
from schemas.stages import HeldStage, StagesHeld, StageState
from services.planner.events import (
    Action,
    ClearCurrent,
    ClearNext,
    Decide,
    Drifted,
    Event,
    Forget,
    Held,
    Improved,
    Lost,
    Planned,
    Profiling,
    PublishCurrent,
    PublishDecision,
    PublishNext,
    Refused,
    Squeeze,
    Squeezed,
    Tick,
    Unfit,
    Wanted,
)
from services.planner.patience import Patience
from services.planner.resuming import Kept, resume
from services.planner.rollout import advance
from services.planner.rollout_state import Rollout

SHA = "a" * 64
PATIENCE = Patience(ready_s=10.0, retry_s=30.0, settle_s=1.0)
WISH = Deployment(deployment="cats", model="mobilenet_v2", requested=1.0)


def plan(text: str, generation: int = 1, deployment: str = "cats") -> Plan:
    routes: tuple[Route, ...] = tuple(parse_route(part) for part in text.split(" | "))
    return Plan(
        deployment=deployment, generation=generation, model="mobilenet_v2", card_sha=SHA, objective="latency",
        policy="exact", routes=routes,
    )  # fmt: skip


def decision(state: str = "preparing", *, generation: int = 0, requested: float = 1.0, error: str = "") -> Decision:
    return Decision.model_validate(
        {"deployment": "cats", "generation": generation, "requested": requested, "state": state, "error": error}
    )


def holding(
    device: str, of: Plan, state: StageState = "ready", *, progress: float = 1.0, error: str = "", boot: str = "b1"
) -> Held:
    stages = tuple(
        HeldStage(
            deployment=of.deployment, generation=of.generation, stage=stage_id(number, index), model=of.model,
            card_sha=of.card_sha, first=stage.first, last=stage.last, state=state, progress=progress, error=error,
        )
        for number, route in enumerate(of.routes)
        for index, stage in enumerate(route.stages)
        if stage.device == device
    )  # fmt: skip
    return Held(StagesHeld(device=device, boot_id=boot, online=True, stages=stages))


@dataclass
class Story:
    """Walks a rollout through events and keeps what it asked for."""

    rollout: Rollout = field(default_factory=lambda: Rollout("cats"))
    now_s: float = 0.0
    log: list[Action] = field(default_factory=list)

    def tell(self, *events: Event) -> list[Action]:
        said: list[Action] = []
        for event in events:
            self.rollout, actions = advance(self.rollout, event, now_s=self.now_s, patience=PATIENCE)
            said += actions
        self.log += said
        return said

    def planned(self, text: str) -> Plan:
        """Answer the question that is open now; gives the plan with its generation."""
        said = self.tell(Planned(self.rollout.ticket, plan(text), decision()))
        return one(said, PublishNext).plan


A = TypeVar("A")


def one(actions: Sequence[Action], kind: type[A]) -> A:
    found = [action for action in actions if isinstance(action, kind)]
    assert len(found) == 1, f"expected one {kind.__name__} in {actions}"
    return found[0]


def kinds(actions: Sequence[Action]) -> list[type[Action]]:
    return [type(action) for action in actions]


def served(text: str = "a[0:2) -> b[2:4)") -> Story:
    story = Story()
    story.tell(Wanted(WISH))
    made = story.planned(text)
    for device in made.devices:
        story.tell(holding(device, made))
    assert story.rollout.phase == "serving"
    return story


def serving(story: Story) -> Plan:
    assert story.rollout.current is not None
    return story.rollout.current


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


def test_a_stage_that_fails_while_it_serves_leaves_its_device_out() -> None:
    story = served()
    said = story.tell(holding("b", serving(story), "failed", error="out of memory"))
    assert one(said, Decide).excluded == {"b": "could not load its stage: out of memory"}


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


def test_a_restarted_planner_tells_a_refusal_though_the_broker_kept_the_same() -> None:
    refusal = decision("failed", error="no devices")
    rollout, _ = resumed(Kept(WISH, decision=refusal))
    assert Story(rollout).tell(Refused(rollout.ticket, refusal)) == [PublishDecision(refusal)]


def test_a_refusal_is_tried_again_when_the_library_changes() -> None:
    story = Story()
    story.tell(Wanted(WISH))
    story.tell(Refused(1, decision("failed", error="unknown model")))
    assert kinds(story.tell(Improved())) == [Decide]


def test_a_device_that_joins_a_good_plan_does_not_disturb_it() -> None:
    assert served().tell(Improved("c"), Improved(), Tick()) == []


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


def test_a_generation_that_no_worker_can_hold_is_not_believed() -> None:
    story = Story()
    story.tell(Wanted(WISH), holding("z", plan("z[0:4)", generation=2**53)))
    assert story.planned("a[0:4)").generation == 1


def test_a_generation_that_a_worker_still_holds_is_never_given_out_again() -> None:
    story = Story()
    story.tell(Wanted(WISH), holding("z", plan("z[0:4)", generation=41)))
    assert story.planned("a[0:4)").generation == 42


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


def resumed(
    kept: Kept, *, card_sha: str | None = SHA, usable: frozenset[str] = frozenset({"a", "b"})
) -> tuple[Rollout, tuple[Action, ...]]:
    return resume("cats", replace(kept, generation=5), card_sha=card_sha, usable=usable, now_s=0.0)


def drifted(story: Story, text: str, *, generation: int | None = None) -> list[Action]:
    """A review found this plan better than the one being served."""
    of = serving(story).generation if generation is None else generation
    told = decision().model_copy(update={"cause": "computing on b takes 21 ms, 10 ms when planned"})
    return story.tell(Drifted(of, plan(text), told))


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


def nothing(device: str) -> Held:
    return Held(StagesHeld(device=device, boot_id="b1", online=True))


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


def test_a_device_that_drops_its_stage_while_a_better_plan_gets_ready_is_planned_around() -> None:
    story = served()
    drifted(story, "a[0:4)")
    story.tell(nothing("b"))
    story.now_s += PATIENCE.absent_s
    assert kinds(story.tell(Tick())) == [ClearNext, Decide]


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


DEVICES = ("a", "b", "c")
ROUTES = ("a[0:4)", "a[0:2) -> b[2:4)", "c[0:4)", "b[0:1) -> c[1:4)", "a[0:4) | b[0:2) -> c[2:4)")


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.sampled_from(DEVICES)), max_size=40))
def test_whatever_happens_only_whole_plans_are_served_and_generations_only_grow(
    happenings: list[tuple[int, int, str]],
) -> None:
    story = Story()
    ready: set[tuple[str, int]] = set()
    generations: list[int] = []
    for number, (what, which, device) in enumerate(happenings):
        story.now_s += which
        upcoming = story.rollout.next
        event: Event
        match what:
            case 0:
                event = Wanted(WISH.model_copy(update={"requested": float(number)}))
            case 1:
                event = Planned(story.rollout.ticket, plan(ROUTES[which]), decision())
            case 2 | 3 | 4 | 5 if upcoming is not None:
                mine = {(device, upcoming.generation)}
                event = holding(device, upcoming, "failed" if what == 5 else "ready")
                ready = ready - mine if what == 5 else ready | mine
            case 6:
                event = Lost(device)
                ready = {(name, generation) for name, generation in ready if name != device}
            case 7:
                event = Refused(story.rollout.ticket, decision("failed", error="none"))
            case 8:
                event = Wanted(None)
            case 9 if story.rollout.current is not None:
                event = Drifted(story.rollout.current.generation, plan(ROUTES[which]), decision())
            case _:
                event = Tick()
        for action in story.tell(event):
            if isinstance(action, PublishNext):
                generations.append(action.plan.generation)
            if isinstance(action, PublishCurrent):
                assert all((name, action.plan.generation) in ready for name in action.plan.devices)
    assert generations == sorted(set(generations))


def test_a_story_is_a_value() -> None:
    story = served()
    assert replace(story.rollout) == story.rollout
