"""Where other shares of the requests leave than was expected, a review finds the plan that suits them, and says so."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from schemas.deployment import Deployment, Pin
from schemas.model import Exit, ModelCard, OperatingPoint
from schemas.plan import Plan
from schemas.stages import ExitSeen, StageTiming, Timing
from schemas.topics import DEVICE_TIMING
from services.planner.adaptation import Adaptation, due
from services.planner.careful import careful
from services.planner.complete import to_plan
from services.planner.cost import problem_from
from services.planner.drift import Rules
from services.planner.events import Decide
from services.planner.exit_shares import NO_SHARES, ExitShares
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.fleet import Fleet
from services.planner.ground import Ground
from services.planner.plan_making import make_plan
from services.planner.question import Question, consider

NO_HUB = HubFacts(submitter_up_mbps=1e12, submitter_down_mbps=1e12)
POINTS = (
    OperatingPoint(thresholds=(0.5,), shares=(0.8,), accuracy=0.8),
    OperatingPoint(thresholds=(0.8,), shares=(0.4,), accuracy=0.9),
)
WISH = Deployment(
    deployment="d", model="made-up", objective="throughput", pins=(Pin(device="camera", first=0, last=1),)
)


@pytest.fixture
def card(make_card: Callable[..., ModelCard]) -> ModelCard:
    plain = make_card([4] * 13)
    head = plain.outputs[0].model_copy(update={"name": "head"})
    exits = (Exit(name="exit1", block=3, threshold=0.8, output=head),)
    return ModelCard.model_validate({**dict(plain), "exits": exits, "operating_points": POINTS})


@pytest.fixture
def devices(make_device: Callable[..., DeviceFacts]) -> tuple[DeviceFacts, ...]:
    return make_device("box", [1.0] * 12), make_device("camera", [2.0] * 12)


def planned(card: ModelCard, devices: tuple[DeviceFacts, ...], wish: Deployment = WISH) -> Plan:
    plan, _ = make_plan(Decide(0, wish, {}), Ground(card, devices, {}), NO_HUB)
    return plan


def after(plan: Plan, left: int, reports: int = 100) -> ExitShares:
    """Shares once so many of every hundred were seen to leave."""
    shares = NO_SHARES
    for _ in range(reports):
        shares = shares.observe(plan, [ExitSeen(name="exit1", met=100, left=left)])
    return shares


def reviewed(card: ModelCard, devices: Any, plan: Plan, shares: ExitShares, wish: Deployment = WISH) -> Any:
    return consider(Question(wish, card, devices, NO_HUB, plan, {}, frozenset(), shares))


def test_a_plan_is_made_for_what_was_calibrated(card: ModelCard, devices: Any) -> None:
    plan = planned(card, devices)
    (rule,) = plan.exits
    assert (rule.name, rule.threshold, rule.share) == ("exit1", 0.8, 0.4)
    # 4 blocks for all, 8 for 60 %: 8.8 blocks' work, a third of which the camera does.
    assert str(plan.routes[0]) == "camera[0:3) -> box[3:12)"


def test_while_inputs_are_as_expected_nothing_speaks_for_moving(card: ModelCard, devices: Any) -> None:
    plan = planned(card, devices)
    found = reviewed(card, devices, plan, after(plan, 40))
    assert abs(found.gain) < 0.05
    assert "leave at" not in found.cause


@pytest.mark.parametrize(
    ("left", "route", "cause"),
    [
        (95, "camera[0:1) -> box[1:12)", "more requests leave at exit1 (95%, expected 40%)"),
        (0, "camera[0:4) -> box[4:12)", "fewer requests leave at exit1 (0%, expected 40%)"),
    ],
)
def test_another_mix_of_inputs_moves_the_cut_and_is_the_cause(
    card: ModelCard, devices: Any, left: int, route: str, cause: str
) -> None:
    plan = planned(card, devices)
    found = reviewed(card, devices, plan, after(plan, left))
    assert str(found.best.routes[0]) == route
    assert found.gain > 0.05
    assert found.cause == cause
    assert found.best.exits[0].share == pytest.approx(left / 100, abs=0.02)


@pytest.mark.parametrize(
    "wrong", [{"device": "camera"}, {"device": "thief"}, {"stage": "r0s0"}, {"stage": "r7s0"}, {"frames": 99}]
)
def test_only_the_stage_that_has_an_exit_tells_who_leaves_there(
    card: ModelCard, devices: Any, wrong: Mapping[str, Any]
) -> None:
    plan = planned(card, devices)
    told = {"device": "box", "stage": "r0s1", "frames": 100, **wrong}
    stage = StageTiming(
        deployment="d", generation=1, stage=told["stage"], frames=told["frames"], wait_ms=0, compute_ms=1, codec_ms=0,
        bytes_in=1, bytes_out=1, exits=(ExitSeen(name="exit1", met=100, left=100),),
    )  # fmt: skip
    said = Timing(device=told["device"], boot_id="b", period_s=1.0, queue_depth=0, stages=(stage,))
    after = Adaptation().heard(
        DEVICE_TIMING, {"device": told["device"]}, said, now_s=1.0, fleet=Fleet(), serving={"d": plan}
    )
    assert after.exits == NO_SHARES


def test_what_was_seen_of_exits_outlives_a_change_of_the_wish_but_not_the_deployment(
    card: ModelCard, devices: Any
) -> None:
    known = Adaptation(exits=after(planned(card, devices), 95))
    assert known.without("d").exits == known.exits
    assert known.forgetting("d").exits == NO_SHARES


def test_workers_reports_make_the_planner_look_again_and_move(card: ModelCard, devices: Any) -> None:
    plan = planned(card, devices)
    adaptation, fleet, moved = Adaptation(), Fleet(cards={"made-up": card}), None

    def hear(now_s: float, met: int, left: int) -> None:
        nonlocal adaptation
        stage = StageTiming(
            deployment="d", generation=1, stage="r0s1", frames=met, wait_ms=0, compute_ms=1, codec_ms=0, bytes_in=1,
            bytes_out=1, exits=(ExitSeen(name="exit1", met=met, left=left),),
        )  # fmt: skip
        said = Timing(device="box", boot_id="b", period_s=1.0, queue_depth=0, stages=(stage,))
        adaptation = adaptation.heard(
            DEVICE_TIMING, {"device": "box"}, said, now_s=now_s, fleet=fleet, serving={"d": plan}
        )

    def ask(now_s: float) -> Question | None:
        return adaptation.question(
            wish=WISH, card=card, rest=devices, serving=plan, fleet=fleet, hub=NO_HUB, now_s=now_s
        )

    rules = Rules()
    for second in range(60):
        hear(float(second), met=50, left=20 if second < 20 else 48)
        question = ask(float(second))
        if second == 19:
            assert question is None  # all is as it was: nothing to look at
        adaptation, found, move = due(adaptation, question, now_s=float(second), rules=rules)
        if move:
            moved = second, found
            break
    assert moved is not None
    second, found = moved
    assert second >= 20 + rules.agree_sudden
    assert found.best.routes[0].stages[0].last < 3
    assert found.cause.startswith("more requests leave at exit1")


def test_inputs_that_are_as_mixed_as_ever_move_nothing_however_they_come(card: ModelCard, devices: Any) -> None:
    plan = planned(card, devices)
    adaptation, fleet, draw = Adaptation(), Fleet(cards={"made-up": card}), random.Random(7)
    for second in range(400):
        met = draw.randint(1, 30)
        left = sum(draw.random() < 0.4 for _ in range(met))
        stage = StageTiming(
            deployment="d", generation=1, stage="r0s1", frames=met, wait_ms=0, compute_ms=1, codec_ms=0, bytes_in=1,
            bytes_out=1, exits=(ExitSeen(name="exit1", met=met, left=left),),
        )  # fmt: skip
        said = Timing(device="box", boot_id="b", period_s=1.0, queue_depth=0, stages=(stage,))
        now_s = float(second)
        adaptation = adaptation.heard(
            DEVICE_TIMING, {"device": "box"}, said, now_s=now_s, fleet=fleet, serving={"d": plan}
        )
        question = adaptation.question(
            wish=WISH, card=card, rest=devices, serving=plan, fleet=fleet, hub=NO_HUB, now_s=now_s
        )
        adaptation, found, move = due(adaptation, question, now_s=now_s, rules=Rules())
        assert not move, (second, found)


def test_with_an_accuracy_the_points_are_chosen_anew_with_the_split(card: ModelCard, devices: Any) -> None:
    wish = WISH.model_copy(update={"accuracy_min": 0.75})
    plan = planned(card, devices, wish)
    assert plan.exits[0].threshold == 0.5
    strict = wish.model_copy(update={"accuracy_min": 0.85})
    found = reviewed(card, devices, planned(card, devices, strict), NO_SHARES, strict)
    assert found.best.exits[0].threshold == 0.8
    assert abs(found.gain) < 0.01


def test_under_a_bound_what_is_gained_are_right_answers(card: ModelCard, devices: Any) -> None:
    wish = Deployment(deployment="d", model="made-up", latency_bound_ms=9.0)
    problem = problem_from(card, wish, devices, NO_HUB, exits=NO_SHARES.rules("d", card, {"exit1": 0.5}))
    serving = to_plan(problem, careful("exact").plan(problem), generation=1, policy="exact")
    found = reviewed(card, devices, serving, NO_SHARES, wish)
    assert found.best.exits[0].threshold == 0.8  # the box alone: 4 + 0.6 * 8 = 8.8 ms
    assert found.gain == pytest.approx(0.1 / 0.2)
    over: Mapping[str, float] = {"latency_bound_ms": 7.0}
    tight = reviewed(card, devices, planned(card, devices, wish), NO_SHARES, wish.model_copy(update=over))
    assert tight.present is None
    assert tight.best.exits[0].threshold == 0.5
