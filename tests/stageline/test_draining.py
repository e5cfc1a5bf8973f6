"""A device is free when no plan uses it and it holds nothing; it is stuck when every plan that uses it must."""

from __future__ import annotations

from typing import Any

from made_up_plans import made_up_plan

from broker.delivery import Change
from schemas.deployment import Decision
from schemas.plan import Plan, Route, Stage
from schemas.stages import HeldStage, StagesHeld
from schemas.topics import DEVICE_STAGES, PLAN_CURRENT, PLAN_DECISION, PLAN_NEXT, Topic
from stageline.draining import Draining

NOTHING = Draining("pi4")


def plan(deployment: str, *devices: str, generation: int = 1) -> Plan:
    routes = tuple(Route(stages=(Stage(device=device, first=0, last=1),)) for device in devices)
    return made_up_plan(routes, deployment=deployment, generation=generation)


def held(state: str, *, device: str = "pi4", online: bool = True) -> StagesHeld:
    stage = HeldStage(
        deployment="cats", generation=1, stage="r0s0", model="m", card_sha="0" * 64, first=0, last=1, state=state,
    )  # type: ignore[arg-type]  # fmt: skip
    return StagesHeld(device=device, boot_id="b", online=online, stages=(stage,))


def failed(deployment: str, error: str = "no memory") -> Decision:
    return Decision(deployment=deployment, generation=0, requested=1.0, state="failed", error=error)


def after(draining: Draining, *said: tuple[Topic[Any], Any], answers: bool = True) -> Draining:
    for topic, message in said:
        name = message.device if topic is DEVICE_STAGES else message.deployment
        parameters = {"device": name, "deployment": name}
        draining = draining.with_change(topic, Change(message, parameters, False, ""), answers=answers)
    return draining


def without(draining: Draining, topic: Topic[Any], deployment: str) -> Draining:
    return draining.with_change(topic, Change(None, {"deployment": deployment}, False, ""))


def test_a_device_that_nothing_uses_is_free() -> None:
    assert NOTHING.done
    assert after(NOTHING, (PLAN_CURRENT, plan("cats", "pi3")), (DEVICE_STAGES, held("ready", device="pi3"))).done


def test_a_device_in_a_plan_or_with_stages_is_not() -> None:
    assert not after(NOTHING, (PLAN_CURRENT, plan("cats", "pi3", "pi4"))).done
    assert not after(NOTHING, (PLAN_NEXT, plan("cats", "pi4"))).done
    for state in ("loading", "ready", "draining"):
        assert not after(NOTHING, (DEVICE_STAGES, held(state))).done
    assert after(NOTHING, (DEVICE_STAGES, held("failed"))).done
    assert after(NOTHING, (DEVICE_STAGES, held("ready", online=False))).done


def test_it_gets_free_when_plans_move_on_and_stages_are_dropped() -> None:
    busy = after(NOTHING, (PLAN_CURRENT, plan("cats", "pi4")), (DEVICE_STAGES, held("ready")))
    moving = after(busy, (PLAN_NEXT, plan("cats", "pi3", generation=2)), (PLAN_CURRENT, plan("cats", "pi3")))
    assert not moving.done
    assert "still holds cats [0:1) (ready)" in str(moving)
    assert after(moving, (DEVICE_STAGES, StagesHeld(device="pi4", boot_id="b", online=True))).done
    assert without(after(NOTHING, (PLAN_CURRENT, plan("cats", "pi4"))), PLAN_CURRENT, "cats").done


def test_it_is_stuck_only_when_all_that_use_it_have_no_other_plan() -> None:
    both = after(NOTHING, (PLAN_CURRENT, plan("cats", "pi4")), (PLAN_CURRENT, plan("dogs", "pi4")))
    assert not both.stuck
    one = after(both, (PLAN_DECISION, failed("cats")))
    assert not one.stuck
    assert after(one, (PLAN_DECISION, failed("dogs"))).stuck == {"cats": "no memory", "dogs": "no memory"}
    assert after(one, (PLAN_CURRENT, plan("dogs", "pi3"))).stuck == {"cats": "no memory"}


def test_refusals_of_others_or_from_before_say_nothing() -> None:
    used = after(NOTHING, (PLAN_CURRENT, plan("cats", "pi4")))
    assert not after(used, (PLAN_DECISION, failed("dogs"))).stuck
    assert not after(used, (PLAN_DECISION, failed("cats")), answers=False).stuck


def test_a_plan_after_all_ends_a_refusal() -> None:
    stuck = after(NOTHING, (PLAN_CURRENT, plan("cats", "pi4")), (PLAN_DECISION, failed("cats")))
    better = Decision(deployment="cats", generation=2, requested=1.0, state="preparing")
    assert stuck.stuck
    assert not after(stuck, (PLAN_DECISION, better)).stuck
