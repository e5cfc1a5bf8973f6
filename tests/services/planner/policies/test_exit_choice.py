"""Thresholds as wished, or those of the operating point that suits the wish best, chosen with the split."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from schemas.deployment import Deployment
from schemas.model import Exit, ModelCard, OperatingPoint
from services.planner.cost import Problem, problem_from
from services.planner.errors import InfeasibleError
from services.planner.exit_choice import best_point
from services.planner.exit_rules import POINTS_MAX, ExitWishError, accuracy_of, allowed_rules, check_names
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.policies import find_policy
from services.planner.policy import Choice

NO_HUB = HubFacts(submitter_up_mbps=1e12, submitter_down_mbps=1e12)
POINTS = (
    OperatingPoint(thresholds=(0.5, 0.5), shares=(0.6, 0.3), accuracy=0.8),
    OperatingPoint(thresholds=(0.8, 0.7), shares=(0.4, 0.3), accuracy=0.9),
    OperatingPoint(thresholds=(0.95, 0.9), shares=(0.1, 0.2), accuracy=0.95),
)


@pytest.fixture
def card(make_card: Callable[..., ModelCard]) -> ModelCard:
    plain = make_card([4] * 5)
    exits = tuple(
        Exit(name=name, block=block, threshold=0.8, output=plain.outputs[0].model_copy(update={"name": f"h{block}"}))
        for name, block in (("exit1", 0), ("exit2", 2))
    )
    return ModelCard.model_validate({**dict(plain), "exits": exits, "operating_points": POINTS})


@pytest.fixture
def device(make_device: Callable[..., DeviceFacts]) -> DeviceFacts:
    return make_device("pi", [10.0] * 4)


def wish(**wanted: object) -> Deployment:
    return Deployment(deployment="d", model="made-up", **wanted)


def chosen(card: ModelCard, device: DeviceFacts, **wanted: object) -> tuple[Problem, Choice]:
    asked = wish(**wanted)
    problems = (problem_from(card, asked, [device], NO_HUB, exits=rules) for rules in allowed_rules(card, asked))
    return best_point(problems, find_policy("exact").plan)


def test_thresholds_are_the_calibrated_ones_unless_the_wish_says_others(card: ModelCard) -> None:
    (rules,) = allowed_rules(card, wish())
    assert [(rule.name, rule.block, rule.threshold) for rule in rules] == [("exit1", 0, 0.8), ("exit2", 2, 0.8)]
    (rules,) = allowed_rules(card, wish(thresholds={"exit2": 0.5}, closed_exits=("exit1",)))
    assert [(rule.name, rule.threshold) for rule in rules] == [("exit2", 0.5)]
    # Whoever would have left at exit1 leaves at exit2.
    assert rules[0].share == pytest.approx(0.9)
    assert allowed_rules(card, wish(closed_exits=("exit1", "exit2"))) == ((),)


def test_an_exit_that_nobody_is_sure_enough_for_is_closed(card: ModelCard) -> None:
    (rules,) = allowed_rules(card, wish(thresholds={"exit1": 1.0, "exit2": 0.7}))
    assert [rule.name for rule in rules] == ["exit2"]
    half_closed = OperatingPoint(thresholds=(1.0, 0.6), shares=(0.0, 0.5), accuracy=0.97)
    measured = card.model_copy(update={"operating_points": (*POINTS, half_closed)})
    rules = allowed_rules(measured, wish(accuracy_min=0.96))[0]
    assert [(rule.name, rule.threshold, rule.share) for rule in rules] == [("exit2", 0.6, 0.5)]
    assert accuracy_of(measured, rules) == 0.97


def test_shares_between_measured_thresholds_are_interpolated_and_add_up(card: ModelCard) -> None:
    (rules,) = allowed_rules(card, wish(thresholds={"exit1": 0.65, "exit2": 0.7}))
    assert rules[0].share == pytest.approx(0.5)
    assert sum(rule.share for rule in rules) == pytest.approx(0.7)
    (rules,) = allowed_rules(card, wish(thresholds={"exit1": 0.8, "exit2": 0.7}))
    assert [rule.share for rule in rules] == pytest.approx([0.4, 0.3])


def test_above_all_measured_thresholds_fewer_leave_the_nearer_an_exit_is_to_being_closed(card: ModelCard) -> None:
    def leave(threshold: float) -> float:
        return allowed_rules(card, wish(thresholds={"exit1": threshold}, closed_exits=("exit2",)))[0][0].share

    assert leave(0.95) == pytest.approx(0.1)
    assert leave(0.975) == pytest.approx(0.05)
    assert leave(0.999) < 0.003


def test_an_accuracy_is_promised_only_where_it_was_measured_with_the_closed_exits_closed(card: ModelCard) -> None:
    with pytest.raises(ExitWishError, match="how accurate made-up is with exit2 closed: leave exits open"):
        allowed_rules(card, wish(accuracy_min=0.9, closed_exits=("exit2",)))
    alone = OperatingPoint(thresholds=(0.9, 1.0), shares=(0.2, 0.0), accuracy=0.92)
    measured = card.model_copy(update={"operating_points": (*POINTS, alone)})
    (rules,) = allowed_rules(measured, wish(accuracy_min=0.9, closed_exits=("exit2",)))
    assert [(rule.name, rule.threshold) for rule in rules] == [("exit1", 0.9)]
    assert accuracy_of(measured, rules) == 0.92
    with pytest.raises(ExitWishError, match=r"the best that was measured with exit2 closed is 92.00%"):
        allowed_rules(measured, wish(accuracy_min=0.93, closed_exits=("exit2",)))
    # A bound alone promises no accuracy: what was measured so is preferred, and else it is unknown.
    (rules,) = allowed_rules(measured, wish(latency_bound_ms=50.0, closed_exits=("exit2",)))
    assert accuracy_of(measured, rules) == 0.92
    assert len(allowed_rules(card, wish(latency_bound_ms=50.0, closed_exits=("exit2",)))) == len(POINTS)


def test_nothing_is_expected_of_exits_that_nobody_measured(card: ModelCard) -> None:
    unmeasured = card.model_copy(update={"operating_points": ()})
    (rules,) = allowed_rules(unmeasured, wish())
    assert [rule.share for rule in rules] == [0.0, 0.0]
    (rules,) = allowed_rules(unmeasured, wish(thresholds={"exit1": 0.0}))
    assert rules[0].share == 1.0


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"thresholds": {"exit9": 0.5}}, "no exit 'exit9': it has exit1, exit2"),
        ({"closed_exits": ("early",)}, "no exit 'early'"),
        ({"accuracy_min": 0.9999}, r"reach an accuracy of 99\.99%: the best that was measured is 95\.00%"),
    ],
)
def test_what_cannot_be_had_is_said_with_what_there_is(card: ModelCard, wanted: dict[str, object], says: str) -> None:
    with pytest.raises(ExitWishError, match=says):
        allowed_rules(card, wish(**wanted))


def test_a_model_without_exits_or_without_measurements_says_so(card: ModelCard, make_card) -> None:
    with pytest.raises(ExitWishError, match="has no exits: leave out thresholds and a least accuracy"):
        allowed_rules(make_card([4] * 3), wish(thresholds={}, accuracy_min=0.5, closed_exits=()).model_copy(
            update={"thresholds": {"exit1": 0.5}}
        ))  # fmt: skip
    with pytest.raises(ExitWishError, match="stageline exits calibrate"):
        allowed_rules(card.model_copy(update={"operating_points": ()}), wish(accuracy_min=0.5))


def test_names_of_exits_are_checked_whatever_they_were_named_for(card: ModelCard, make_card) -> None:
    check_names(card, ["exit2", "exit1"])
    with pytest.raises(ExitWishError, match="no exit 'exit9': it has exit1, exit2"):
        check_names(card, ["exit1", "exit9"])
    with pytest.raises(ExitWishError, match="no exit 'exit1': it has none"):
        check_names(make_card([4] * 3), ["exit1"])


def test_a_wish_gives_thresholds_or_an_accuracy_not_both() -> None:
    with pytest.raises(ValueError, match="leave out thresholds or accuracy_min"):
        wish(thresholds={"exit1": 0.5}, accuracy_min=0.9)
    with pytest.raises(ValueError, match="has a threshold and is closed"):
        wish(thresholds={"exit1": 0.5}, closed_exits=("exit1",))


def test_of_the_points_that_are_accurate_enough_the_quickest_is_taken(card: ModelCard, device: DeviceFacts) -> None:
    problem, choice = chosen(card, device, accuracy_min=0.85)
    assert accuracy_of(card, choice.exits) == 0.9
    assert [rule.threshold for rule in problem.exits] == [0.8, 0.7]
    assert choice.predicted.latency_ms == pytest.approx(10 + 0.6 * 20 + 0.3 * 10)
    assert "90.0% accurate on validation data" in choice.notes[-1]


def test_under_a_bound_the_most_accurate_point_that_keeps_it_is_taken(card: ModelCard, device: DeviceFacts) -> None:
    for bound_ms, accuracy in ((40.0, 0.95), (34.0, 0.9), (20.0, 0.8)):
        _, choice = chosen(card, device, latency_bound_ms=bound_ms)
        assert accuracy_of(card, choice.exits) == accuracy
        assert choice.predicted.latency_ms <= bound_ms
    with pytest.raises(InfeasibleError, match=r"keep 10 ms: the quickest plan .* takes 19.0 ms"):
        chosen(card, device, latency_bound_ms=10.0)
    with pytest.raises(InfeasibleError, match="keep 20 ms"):
        chosen(card, device, latency_bound_ms=20.0, accuracy_min=0.85)


def test_plans_are_made_for_a_bounded_number_of_points(card: ModelCard) -> None:
    many = tuple(
        OperatingPoint(thresholds=(n / 100, n / 100), shares=(0.1, 0.1), accuracy=n / 100) for n in range(1, 100)
    )
    measured = card.model_copy(update={"operating_points": many})
    sets = allowed_rules(measured, wish(accuracy_min=0.5))
    assert len(sets) == POINTS_MAX
    assert (sets[0][0].threshold, sets[-1][0].threshold) == (0.99, 0.5)
