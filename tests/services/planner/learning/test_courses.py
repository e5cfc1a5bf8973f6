"""One deployment that learns: what is looked at, what was picked, and what another planner continues from."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.learning.scene import some_slow_links
from schemas.accuracy import RouteSeen, Seen
from schemas.learning import Learning, TriedPlan
from schemas.plan import Plan
from services.planner.complete import plan_of
from services.planner.learning.arms import Arm
from services.planner.learning.course import MOVED_WITHIN_S, Course, cause_of
from services.planner.learning.keeping import relearned, restored
from services.planner.learning.playing import played
from services.planner.learning.seen_window import ANSWERS_ENOUGH, SeenWindow
from services.planner.learning.ucb import Ucb

(WORLD,) = some_slow_links(1)
ARMS = WORLD.arms()
WISH = WORLD.wish.model_copy(update={"policy": "bandit"})


def plan(arm: Arm, generation: int = 1) -> Plan:
    return plan_of(WORLD.card, WISH, arm.choice, generation=generation, policy="bandit")


def seen(answers: int, latency_ms: float, *, generation: int = 1, submitter: str = "s", waiting: int = 0) -> Seen:
    routes = (RouteSeen(route=0, answers=answers, latency_ms=latency_ms, waiting=waiting),)
    return Seen(submitter=submitter, deployment="made-up", generation=generation, period_s=1.0, routes=routes)


def test_a_plan_is_judged_by_answers_of_its_own_after_the_first_report() -> None:
    window = SeenWindow(1, 0.0)
    for message in (seen(50, 900.0), seen(6, 10.0), seen(6, 40.0), seen(99, 1.0, generation=2)):
        window = window.with_seen(message)
    assert window.answers == 12
    assert window.judged(plan(ARMS[0]), 2.0, period_s=5.0) is None
    assert window.judged(plan(ARMS[0]), 6.0, period_s=5.0) == pytest.approx(25.0)
    assert window.judged(plan(ARMS[0]), 2.0, period_s=5.0, reference=10.0) == pytest.approx(25.0)
    assert window.again(9.0).with_seen(seen(3, 5.0)).answers == 3


def test_too_few_answers_judge_nothing() -> None:
    window = SeenWindow(1, 0.0).with_seen(seen(0, 0.0)).with_seen(seen(ANSWERS_ENOUGH - 1, 5.0))
    assert window.judged(plan(ARMS[0]), 100.0, period_s=1.0) is None
    assert SeenWindow(1, 0.0).judged(plan(ARMS[0]), 100.0, period_s=1.0) is None


def test_throughput_is_judged_only_where_submitters_ask_for_all_of_it() -> None:
    wish = WISH.model_copy(update={"objective": "throughput"})
    made = plan_of(WORLD.card, wish, ARMS[0].choice, generation=1, policy="bandit")
    for waiting, judged in ((0, None), (2 * sum(route.window for route in made.routes), 1e3 / 30)):
        window = SeenWindow(1, 0.0)
        for _ in range(4):
            for submitter in ("one", "other"):
                window = window.with_seen(seen(15, 5.0, submitter=submitter, waiting=waiting))
        assert window.judged(made, 9.0, period_s=5.0) == (pytest.approx(judged) if judged else None)


def test_a_move_is_asked_for_and_counts_once_it_is_served() -> None:
    course = Course.begun(WISH, plan(ARMS[0]), 0.0)
    number = 0
    while course.asked is None:
        course, pick = course.decided(ARMS, Ucb(), WORLD.true_cost(ARMS[0]), float(number))
        number += 1
    assert pick.by == "exploring"
    assert course.holds
    assert "trying another plan" in cause_of(pick, course.learner, ARMS)
    waiting = course.serving(WISH, course.plan, number + 1.0)
    assert waiting.asked is pick
    assert course.serving(WISH, course.plan, number + MOVED_WITHIN_S + 1).asked is None
    served = waiting.serving(WISH, plan(pick.arm, 2), number + 2.0)
    assert (served.by, served.asked, served.window.generation) == ("exploring", None, 2)
    assert served.holds
    assert served.baseline == course.plan
    assert served.told().by == "exploring"


def test_a_plan_that_came_otherwise_is_exacts() -> None:
    course = replace(Course.begun(WISH, plan(ARMS[0]), 0.0), by="learned")
    moved = course.serving(WISH, plan(ARMS[1], 2), 1.0)
    assert (moved.by, moved.baseline, moved.holds) == ("exact", None, False)


def test_another_wish_begins_anew_and_the_same_one_asked_again_does_not() -> None:
    course = Course.begun(WISH, plan(ARMS[0]), 0.0)
    course, _ = course.decided(ARMS, Ucb(), 50.0, 1.0)
    again = course.serving(WISH.model_copy(update={"requested": 99.0}), plan(ARMS[0], 2), 2.0)
    assert again.learner.decisions == 1
    assert course.serving(WISH.model_copy(update={"weight": 2.0}), plan(ARMS[0], 2), 2.0).learner.decisions == 0


def test_what_was_told_is_continued_from_with_half_the_confidence() -> None:
    run = played(WORLD, Ucb(), decisions=120, seed=1)
    incumbent = run.learner.acting(ARMS)
    assert incumbent is not ARMS[0]
    course = replace(Course.begun(WISH, plan(incumbent, 9), 0.0), learner=run.learner, by="learned", arms=tuple(ARMS))
    told = course.told()
    assert (told.state, told.by, told.serving) == ("acting", "learned", incumbent.name)
    assert told.gain > 0.05
    assert told.regret < 0.3
    assert told.tried[0].plan == ARMS[0].name
    after = Course.begun(WISH, plan(incumbent, 9), 50.0, told)
    assert after.by == "learned"
    assert after.holds
    kept = after.learner
    assert (kept.decisions, kept.budget.explored) == (120, run.learner.budget.explored)
    before = run.learner.between(incumbent, ARMS[0])
    assert kept.between(incumbent, ARMS[0]).weight == pytest.approx(before.weight / 2, rel=0.02)
    assert len(relearned(kept, ARMS).names) > 0
    resumed = played(WORLD, Ucb(), decisions=100, seed=2, learner=replace(kept, linear=relearned(kept, ARMS)))
    assert resumed.regret(50) < 0.05


def test_a_plan_of_another_generation_or_policy_is_not_taken_for_what_was_learned() -> None:
    told = Course.begun(WISH, plan(ARMS[1], 3), 0.0).told().model_copy(update={"by": "learned"})
    assert Course.begun(WISH, plan(ARMS[1], 4), 0.0, told).by == "exact"
    other = WISH.model_copy(update={"policy": "ppo"})
    assert Course.begun(other, plan(ARMS[1], 3), 0.0, told).learner.decisions == 0


numbers = st.floats(0, 1e18)


@settings(max_examples=40)
@given(
    st.lists(
        st.builds(
            TriedPlan, plan=st.sampled_from([arm.name for arm in ARMS] + ["r0: gone[0:12)"]), predicted=numbers,
            measured=numbers, samples=numbers, gain=st.floats(-1e300, 1e300), pairs=numbers,
        ),
        max_size=8,
    ),
    st.integers(0, 2**53), st.integers(0, 2**53), numbers, numbers,
)  # fmt: skip
def test_whatever_the_broker_kept_learning_goes_on(
    tried: list[TriedPlan], decisions: int, explored: int, extra: float, regret: float
) -> None:
    message = Learning(
        deployment="d", generation=1, policy="bandit", state="acting", serving=ARMS[1].name, by="learned",
        decisions=decisions, explored=explored, extra_cost=extra, regret=regret, tried=tuple(tried),
    )  # fmt: skip
    learner = restored(message)
    learner = replace(learner, linear=relearned(learner, ARMS))
    for cost in (10.0, 1e5, 30.0):
        pick = learner.decide(ARMS, Ucb())
        learner = learner.measured(ARMS, pick, cost)
    course = replace(Course.begun(WISH, plan(ARMS[0]), 0.0), learner=learner, arms=tuple(ARMS))
    assert Learning.model_validate(course.told().model_dump()) == course.told()
