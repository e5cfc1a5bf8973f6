"""One deployment that learns: what is looked at, what was picked, and what another planner continues from."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.learning.scene import some_slow_links
from schemas.accuracy import RouteSeen, Seen
from schemas.learning import Learning, TriedPlan
from schemas.plan import ExitRule, Plan
from services.planner.complete import plan_of
from services.planner.learning.arms import Arm, name_of
from services.planner.learning.course import MOVED_WITHIN_S, TRIAL_S, Course, cause_of
from services.planner.learning.keeping import relearned, restored
from services.planner.learning.learner import Learner, Pick, Tried
from services.planner.learning.pairs import Pairs
from services.planner.learning.playing import played
from services.planner.learning.seen_window import ANSWERS_ENOUGH, DEAR, SeenWindow
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
        window = window.with_seen(message, plan(ARMS[0]))
    assert window.answers == 12
    assert window.judged(plan(ARMS[0]), 2.0, period_s=5.0) is None
    assert window.judged(plan(ARMS[0]), 6.0, period_s=5.0) == pytest.approx(25.0)
    assert window.judged(plan(ARMS[0]), 2.0, period_s=5.0, reference=10.0) == pytest.approx(25.0)
    assert window.again(9.0).with_seen(seen(3, 5.0), plan(ARMS[0])).answers == 3


def test_too_few_answers_judge_nothing() -> None:
    served = plan(ARMS[0])
    window = SeenWindow(1, 0.0).with_seen(seen(0, 0.0), served).with_seen(seen(ANSWERS_ENOUGH - 1, 5.0), served)
    assert window.judged(plan(ARMS[0]), 100.0, period_s=1.0) is None
    assert SeenWindow(1, 0.0).judged(plan(ARMS[0]), 100.0, period_s=1.0) is None


def test_throughput_is_judged_only_where_submitters_ask_for_all_of_it() -> None:
    wish = WISH.model_copy(update={"objective": "throughput"})
    made = plan_of(WORLD.card, wish, ARMS[0].choice, generation=1, policy="bandit")
    for waiting, judged in ((0, None), (2 * sum(route.window for route in made.routes), 1e3 / 30)):
        window = SeenWindow(1, 0.0)
        for _ in range(4):
            for submitter in ("one", "other"):
                window = window.with_seen(seen(15, 5.0, submitter=submitter, waiting=waiting), made)
        assert window.judged(made, 9.0, period_s=5.0) == (pytest.approx(judged) if judged else None)


def reported(window: SeenWindow, *messages: Seen) -> SeenWindow:
    """After the first report of everybody, which does not count, and these."""
    for message in (*(one.model_copy(update={"routes": ()}) for one in messages), *messages):
        window = window.with_seen(message, plan(ARMS[0]))
    return window


def test_one_report_does_not_outweigh_those_of_all_others() -> None:
    honest = [seen(10, 50.0 + one, submitter=f"s{one}") for one in range(3)]
    lies = seen(2**53, 1e18, submitter="liar", waiting=2**53), seen(2**53, 0.0, submitter="liar")
    for lie in lies:
        window = reported(SeenWindow(1, 0.0), *honest, lie)
        assert 50.0 <= window.cost("latency") <= 52.0  # type: ignore[operator]
        alone = reported(SeenWindow(1, 0.0), lie)
        assert alone.answers < 200 * plan(ARMS[0]).routes[0].window
        assert alone.sights["liar"].under_way <= sum(route.window for route in plan(ARMS[0]).routes)
    # Nor is a rate believed that no window lets through, of however short a period.
    quick = lies[1].model_copy(update={"period_s": 0.0})
    predicted_ms = 1e3 / plan(ARMS[0]).predicted.throughput_rps  # type: ignore[union-attr]
    assert reported(SeenWindow(1, 0.0), quick).cost("throughput") > predicted_ms / 50  # type: ignore[operator]


def test_reports_of_routes_that_the_plan_does_not_have_are_nothing() -> None:
    other = seen(10, 5.0).model_copy(update={"routes": (RouteSeen(route=7, answers=10, latency_ms=5.0),)})
    assert reported(SeenWindow(1, 0.0), other).answers == 0


def trying(objective: str = "latency") -> Course:
    """Exact's plan is known to take 30 ms, and another is being tried since 100 s."""
    course = Course.begun(WISH.model_copy(update={"objective": objective}), plan(ARMS[0]), 0.0)
    course, _ = course.decided(ARMS, Ucb(), 30.0, 1.0)
    course = replace(course, asked=Pick(ARMS[1], "exploring"), asked_s=99.0)
    tried = plan(ARMS[1], 2).model_copy(update={"objective": objective})
    return course.serving(course.wish, tried, 100.0)


def test_a_trial_that_nobody_can_judge_ends_counts_and_is_reviewed_again() -> None:
    course = trying()
    assert course.by == "exploring"
    assert course.holds
    assert not course.trial_over(100.0 + TRIAL_S, period_s=5.0)
    assert not course.trial_over(101.0 + TRIAL_S, period_s=20.0)
    assert course.trial_over(101.0 + TRIAL_S, period_s=5.0)
    after, pick = course.unjudged(ARMS, 161.0)
    assert (pick.arm, pick.by) == (ARMS[0], "exact")
    assert (after.asked, after.by) == (pick, "exact")
    assert (after.learner.decisions, after.learner.budget.explored) == (2, 1)
    assert after.learner.budget.extra == 0
    assert not after.serving(after.wish, plan(ARMS[0], 3), 162.0).holds
    refused = after.serving(after.wish, after.plan, 163.0 + MOVED_WITHIN_S)
    assert not refused.holds
    # Nothing else is tried before exact's plan was seen once more.
    assert after.learner.decide(ARMS, Ucb()).arm is ARMS[0]


def test_a_trial_that_seems_dearer_by_far_ends_early_though_nobody_keeps_it_busy() -> None:
    course = trying("throughput")
    for _ in range(4):
        course = course.seen(seen(3, 5.0, generation=2))
    assert course.window.judged(course.plan, 110.0, period_s=5.0, reference=30.0) is None
    assert not course.trial_over(104.0, period_s=5.0)
    assert course.trial_over(105.0, period_s=5.0)
    after, _ = course.unjudged(ARMS, 105.0)
    # That little is asked for says nothing of the plan, so nothing is learned of it, and it costs the budget little.
    assert after.learner.budget.extra == pytest.approx(DEAR - 1)
    assert ARMS[1].name not in after.learner.tried


def test_what_is_served_as_learned_or_as_exacts_has_no_end() -> None:
    for by in ("exact", "learned", "probing"):
        assert not replace(trying(), by=by).trial_over(1e6, period_s=5.0)


def test_a_trial_that_is_refused_counts_as_one() -> None:
    course = Course.begun(WISH, plan(ARMS[0]), 0.0)
    course, _ = course.decided(ARMS, Ucb(), 30.0, 1.0)
    course = replace(course, asked=Pick(ARMS[1], "exploring"), asked_s=2.0)
    refused = course.serving(WISH, course.plan, 3.0 + MOVED_WITHIN_S)
    assert (refused.asked, refused.learner.budget.explored) == (None, 1)
    assert not refused.holds
    assert refused.learner.decide(ARMS, Ucb()).arm is ARMS[0]


def test_plans_with_other_exits_or_other_ends_are_not_the_same_plan() -> None:
    rules = [ExitRule(name="exit1", block=2, threshold=threshold) for threshold in (0.8, 0.9)]
    plain = plan(ARMS[0])
    names = {name_of(one) for one in (plain, *(plain.model_copy(update={"exits": (rule,)}) for rule in rules))}
    assert len(names) == 3
    assert name_of(plain) == name_of(ARMS[0].choice) == str(plain)
    assert name_of(replace(ARMS[0].choice, exits=(rules[0],))) in names
    (route,) = plain.routes
    last = route.model_copy(
        update={"stages": (*route.stages[:-1], route.stages[-1].model_copy(update={"device": "z"}))}
    )
    long = [plain.model_copy(update={"routes": (route,) * 300 + (end,)}) for end in (route, last)]
    assert len({name_of(one) for one in long}) == 2
    assert max(len(name_of(one)) for one in long) <= 4096


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
    assert told.gain == pytest.approx(run.learner.between(incumbent, ARMS[0]).mean, abs=1e-4)
    assert told.gain is not None
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


def test_noise_of_the_only_plan_that_was_ever_served_is_no_regret() -> None:
    learner = Learner()
    for cost in (50.0, 61.0, 44.0, 58.0):
        learner = learner.measured(ARMS, Pick(ARMS[0], "exact"), cost)
    assert learner.regret.value() == 0.0
    dearer = learner.measured(ARMS, Pick(ARMS[1], "exploring"), 500.0)
    assert dearer.regret.value() > 0.0


def test_what_nobody_has_measured_in_pairs_is_told_as_unknown() -> None:
    course = Course.begun(WISH, plan(ARMS[1], 3), 0.0)
    course, _ = course.decided(ARMS, Ucb(), 50.0, 1.0)
    first = replace(course, arms=tuple(ARMS)).told()
    assert (first.by, first.gain) == ("exact", 0.0)
    trial = replace(course, by="exploring", arms=tuple(ARMS)).told()
    assert trial.gain is None
    assert {(one.gain, one.gain_at_least, one.pairs) for one in trial.tried} == {(None, None, 0.0)}
    once = Learner(
        tried={ARMS[1].name: Tried(30.0)}, pairs={(ARMS[1].name, ARMS[0].name): Pairs().with_pair(9.0, 10.0)}
    )
    [_, tried] = replace(course, learner=once, by="exploring", arms=tuple(ARMS)).told().tried
    assert (tried.gain, tried.gain_at_least, tried.pairs) == (pytest.approx(0.1), None, 1.0)


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
