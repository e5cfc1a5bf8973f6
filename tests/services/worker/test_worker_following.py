"""From plans and held stages to what is done next, without a bus."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_plans import made_up_plan

from schemas.plan import Plan
from schemas.stages import StageState
from services.worker.assignments import Assignment, StageKey, assignments
from services.worker.following import MOST_HELD, Action, Drain, Drop, Held, Load, Revive, decide

SHA = "a" * 64
ME = "pi4"


def plan(text: str, generation: int, deployment: str = "cats") -> Plan:
    return made_up_plan(text, deployment=deployment, generation=generation, card_sha=SHA)


def holding(plan: Plan, state: StageState, *, drained: bool = False) -> dict[StageKey, Held]:
    return {one.key: Held(one, state, drained) for one in assignments(plan, ME)}


def todo(
    held: Mapping[StageKey, Held], upcoming: Plan | None = None, current: Plan | None = None
) -> tuple[Action, ...]:
    def book(plan: Plan | None) -> dict[str, Plan]:
        return {plan.deployment: plan} if plan else {}

    return decide(held, book(upcoming), book(current), ME)


def keys(plan: Plan) -> list[StageKey]:
    return [one.key for one in assignments(plan, ME)]


ONE = plan("pi4[0:4) -> nano[4:9)", 1)
TWO = plan("nano[0:3) -> pi4[3:9)", 2)
THREE = plan("pi4[0:9)", 3)
ELSEWHERE = plan("nano[0:9)", 4)


def test_the_first_plan_is_loaded_when_it_is_next() -> None:
    assert todo({}, ONE) == (Load(assignments(ONE, ME)[0]),)


def test_a_worker_that_starts_late_loads_the_current_plan() -> None:
    assert todo({}, None, ONE) == (Load(assignments(ONE, ME)[0]),)


def test_nothing_is_done_while_the_next_plan_is_being_prepared() -> None:
    assert todo(holding(ONE, "ready") | holding(TWO, "loading"), TWO, ONE) == ()


def test_current_is_loaded_before_next() -> None:
    assert [action.assignment.key for action in todo({}, TWO, ONE) if isinstance(action, Load)] == [
        *keys(ONE),
        *keys(TWO),
    ]


def test_the_old_generation_drains_when_the_new_one_is_current() -> None:
    assert todo(holding(ONE, "ready") | holding(TWO, "ready"), None, TWO) == (Drain(keys(ONE)[0]),)


def test_a_draining_stage_is_dropped_only_when_it_is_drained() -> None:
    assert todo(holding(ONE, "draining") | holding(TWO, "ready"), None, TWO) == ()
    assert todo(holding(ONE, "draining", drained=True) | holding(TWO, "ready"), None, TWO) == (Drop(keys(ONE)[0]),)


def test_a_prepared_stage_stays_while_next_is_cleared_and_current_not_yet_seen() -> None:
    assert todo(holding(ONE, "ready") | holding(TWO, "ready"), None, ONE) == ()


def test_the_first_prepared_plan_is_revived_when_current_is_seen_after_next_was_cleared() -> None:
    assert todo(holding(ONE, "ready")) == (Drain(keys(ONE)[0]),)
    assert todo(holding(ONE, "draining"), None, ONE) == (Revive(keys(ONE)[0]),)


def test_a_prepared_stage_goes_when_a_later_next_supersedes_it() -> None:
    held = holding(ONE, "ready") | holding(TWO, "loading")
    assert todo(held, THREE, ONE) == (Drop(keys(TWO)[0]), Load(assignments(THREE, ME)[0]))


def test_a_prepared_stage_goes_when_a_later_current_supersedes_it() -> None:
    held = holding(ONE, "ready") | holding(TWO, "ready")
    assert set(todo(held, None, ELSEWHERE)) == {Drain(keys(ONE)[0]), Drain(keys(TWO)[0])}


def test_a_failed_stage_stays_reported_while_its_plan_is_named_and_goes_with_it() -> None:
    assert todo(holding(TWO, "failed"), TWO, None) == ()
    assert todo(holding(TWO, "failed"), THREE, None)[0] == Drop(keys(TWO)[0])


def test_a_removed_deployment_is_drained_and_what_was_loading_is_dropped() -> None:
    assert todo(holding(ONE, "ready")) == (Drain(keys(ONE)[0]),)
    assert todo(holding(ONE, "loading")) == (Drop(keys(ONE)[0]),)


def test_a_next_that_is_older_than_current_is_not_loaded() -> None:
    assert todo(holding(TWO, "ready"), ONE, TWO) == ()


def test_the_same_key_with_other_blocks_is_loaded_anew() -> None:
    changed = plan("pi4[0:5) -> nano[5:9)", 1)
    assert todo(holding(ONE, "ready"), None, changed) == (Drop(keys(ONE)[0]), Load(assignments(changed, ME)[0]))


def test_deployments_do_not_disturb_one_another() -> None:
    dogs = plan("pi4[0:2) -> nano[2:9)", 9, "dogs")
    held = holding(ONE, "ready") | holding(dogs, "ready")
    assert decide(held, {}, {"cats": ONE, "dogs": dogs}, ME) == ()
    assert decide(held, {}, {"cats": ONE}, ME) == (Drain(keys(dogs)[0]),)


PLANS = [ONE, TWO, THREE, ELSEWHERE, plan("pi4[0:2) -> nano[2:9)", 5), plan("pi4[0:4) -> nano[4:9)", 2, "dogs")]
books = st.fixed_dictionaries({}, optional={"cats": st.sampled_from(PLANS[:5]), "dogs": st.just(PLANS[5])})
holdings = st.dictionaries(
    st.sampled_from([one for some in PLANS for one in assignments(some, ME)]),
    st.tuples(st.sampled_from(["loading", "ready", "draining", "failed"]), st.booleans()),
)


def carry_out(held: dict[StageKey, Held], actions: tuple[Action, ...]) -> dict[StageKey, Held]:
    after = dict(held)
    for action in actions:
        match action:
            case Load(one):
                assert one.key not in after
                after[one.key] = Held(one, "ready")
            case Drop(key):
                del after[key]
            case Drain(key):
                after[key] = Held(after[key].assignment, "draining", drained=True)
            case Revive(key):
                after[key] = Held(after[key].assignment, "ready")
    return after


@given(upcoming=books, current=books, some=holdings)
def test_whatever_is_held_ends_as_the_plans_say_and_stays(
    upcoming: dict[str, Plan], current: dict[str, Plan], some: dict[Assignment, tuple[StageState, bool]]
) -> None:
    held = {one.key: Held(one, state, drained) for one, (state, drained) in some.items()}
    for _ in range(4):
        held = carry_out(held, decide(held, upcoming, current, ME))
    assert not decide(held, upcoming, current, ME)
    for served in current.values():
        assert set(keys(served)) <= held.keys()
    for key, one in held.items():
        if one.state in ("ready", "loading"):
            serving = current.get(key.deployment)
            assert key.deployment in upcoming or (serving is not None and key.generation >= serving.generation)


@pytest.mark.parametrize("held", [{}, holding(ONE, "ready"), holding(ONE, "draining")])
def test_a_plan_without_this_device_loads_nothing(held: dict[StageKey, Held]) -> None:
    assert not [action for action in todo(held, ELSEWHERE, None) if isinstance(action, Load)]


def test_a_plan_that_asks_for_too_many_stages_is_refused_as_one_of_them() -> None:
    flood = plan(" | ".join(["pi4[0:1) -> pi4[1:2) -> pi4[2:3)"] * 30), 5)
    (refusal,) = todo({}, flood)
    assert isinstance(refusal, Load)
    assert refusal.assignment.key == keys(flood)[0]
    assert "places 90 stages on pi4, which takes 64" in refusal.assignment.refused
    refused = {refusal.assignment.key: Held(refusal.assignment, "failed")}
    assert todo(refused, flood) == ()
    assert todo(refused) == (Drop(refusal.assignment.key),)
    fewer = plan("pi4[0:1) -> pi4[1:2) -> pi4[2:3)", 5)
    assert todo(refused, fewer)[0] == Drop(refusal.assignment.key)


def test_of_endless_plans_only_so_many_stages_are_held() -> None:
    plans = {f"d{number}": plan("pi4[0:4) -> pi4[4:9)", 1, f"d{number}") for number in range(1000)}
    held: dict[StageKey, Held] = {}
    loads = [action for action in decide(held, {}, plans, ME) if isinstance(action, Load)]
    assert len(loads) == MOST_HELD
    held = {one.assignment.key: Held(one.assignment, "ready") for one in loads}
    assert decide(held, {}, plans, ME) == ()
    first = loads[0].assignment.key.deployment
    del plans[first]
    freed = {key: one for key, one in held.items() if key.deployment != first}
    assert len([one for one in decide(freed, {}, plans, ME) if isinstance(one, Load)]) == 2
