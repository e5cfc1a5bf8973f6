"""The planner on a real broker, from a wish to a plan being served, with devices that are only voices."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from schemas.deployment import HubStatus, Pin
from schemas.device import Duty
from schemas.stages import HeldStage, StagesHeld
from schemas.topics import (
    DEPLOYMENT,
    DEVICE_DUTY,
    DEVICE_STAGES,
    HUB_STATUS,
    PLAN_CURRENT,
    PLAN_DECISION,
    PLAN_NEXT,
)
from services.planner.hub_presence import SecondPlannerError

if TYPE_CHECKING:
    from tests.services.planner.house import House


async def test_a_wish_walks_through_profiling_and_preparing_to_serving(house: House) -> None:
    house.import_model()
    fast = await house.device("fast")
    slow = await house.device("slow", block_ms=5.0)
    fast.measures = slow.measures = False
    fast.state = "loading"
    async with house.planner():
        wish = await house.want()
        told = await house.decision("profiling")
        assert "fast" in told.explanation
        assert "slow" in told.explanation
        await fast.measure("net")
        await slow.measure("net")
        told = await house.decision("preparing")
        plan = await house.until(PLAN_NEXT, "cats", lambda plan: True)
        assert str(plan) == "r0: fast[0:4)"
        assert (told.generation, told.requested, told.plan) == (1, wish.requested, str(plan))
        assert "Not split" in told.explanation
        assert PLAN_CURRENT.template not in {template for template, _ in house.seen}
        fast.state = "ready"
        await fast.tell()
        assert await house.serving() == plan
        await house.cleared(PLAN_NEXT, "cats")
    assert [one.state for one in house.history(PLAN_DECISION) if one] == ["profiling", "preparing", "serving"]


async def test_a_half_ready_plan_is_never_served(house: House) -> None:
    house.import_model()
    first, second = await house.device("first"), await house.device("second")
    second.state = "loading"
    async with house.planner():
        await house.want(pins=(Pin(device="first", first=0, last=2), Pin(device="second", first=2, last=4)))
        upcoming = await house.until(PLAN_NEXT, "cats", lambda plan: True)
        assert upcoming.devices == ("first", "second")
        second.progress = 0.5
        await second.tell()
        await first.tell()
        await house.want("dogs", exclude=("second",))
        await house.serving("dogs")
        assert house.now.get((PLAN_CURRENT.template, "cats")) is None
        second.state = "ready"
        await second.tell()
        assert await house.serving() == upcoming


async def test_a_device_that_fails_to_load_is_planned_around_and_the_decision_says_so(house: House) -> None:
    house.import_model()
    fast, _ = await house.device("fast"), await house.device("slow", block_ms=5.0)
    fast.state, fast.error = "failed", "the disk is full"
    async with house.planner():
        await house.want()
        plan = await house.serving(generation=2)
        assert plan.devices == ("slow",)
        assert "fast (could not load its stage: the disk is full)" in (await house.decision("serving")).explanation


async def test_a_device_that_makes_no_progress_is_planned_around(house: House) -> None:
    house.import_model()
    fast, _ = await house.device("fast"), await house.device("slow", block_ms=5.0)
    fast.state = "loading"
    async with house.planner(ready_timeout_s=1.5):
        await house.want()
        assert (await house.serving(generation=2)).devices == ("slow",)
        assert "no progress for 1.5 s" in (await house.decision("serving")).explanation


async def test_a_lost_device_is_planned_around_at_once_and_the_decision_says_why_now(house: House) -> None:
    house.import_model()
    fast, _ = await house.device("fast"), await house.device("slow", block_ms=5.0)
    async with house.planner():
        await house.want()
        assert (await house.serving()).devices == ("fast",)
        await fast.die()
        assert (await house.serving(generation=2)).devices == ("slow",)
        assert (await house.decision("serving")).cause == "fast: its worker is offline (vanished)"


async def test_routes_that_survive_a_loss_go_on_as_they_are(house: House) -> None:
    house.import_model()
    devices = {name: await house.device(name) for name in ("a", "b", "c")}
    async with house.planner():
        await house.want(objective="throughput")
        plan = await house.serving()
        assert sorted(plan.devices) == ["a", "b", "c"]
        bound_rps = (await house.decision("serving")).bound_rps
        assert plan.predicted is not None
        assert bound_rps is not None
        assert plan.predicted.throughput_rps <= bound_rps
        await devices["b"].die()
        after = await house.serving(generation=2)
        assert sorted(str(route) for route in after.routes) == ["a[0:4)", "c[0:4)"]


async def test_a_device_that_does_not_measure_in_time_is_left_out(house: House) -> None:
    house.import_model()
    mute, slow = await house.device("mute"), await house.device("slow", block_ms=5.0)
    mute.measures = False
    async with house.planner(profile_timeout_s=1.5):
        await slow.measure("net")  # on a busy machine it might be late, too
        await house.want()
        assert (await house.serving()).devices == ("slow",)
        assert "mute (did not measure net within 1.5 s)" in (await house.decision("serving")).explanation


async def test_a_profile_that_comes_too_late_is_planned_with_after_all(house: House) -> None:
    house.import_model()
    slow = await house.device("slow")
    slow.measures = False
    async with house.planner(profile_timeout_s=0.5):
        await house.want()
        assert "slow (did not measure net within 0.5 s)" in (await house.decision("failed")).error
        await slow.measure("net")
        assert (await house.serving()).devices == ("slow",)


async def test_a_worker_that_did_not_hear_the_question_is_asked_again(house: House) -> None:
    house.import_model()
    pi = await house.device("pi", deaf=True)
    async with house.planner():
        await house.want()
        await house.decision("profiling")
        await pi.listen()
        assert (await house.serving()).devices == ("pi",)
        assert pi.commands == ["net"]


async def test_a_profile_with_another_number_of_blocks_leaves_out_that_device_alone(house: House) -> None:
    house.import_model()
    good, odd = await house.device("good"), await house.device("odd")
    odd.measures = False
    async with house.planner(profile_timeout_s=1.0):
        await good.measure("net")  # on a busy machine it might be late, too
        await odd.measure("net", blocks=1)
        await house.want()
        assert str(await house.serving()) == "r0: good[0:4)"


async def test_absurd_numbers_of_one_device_end_no_planner(house: House) -> None:
    house.import_model()
    await house.device("good")
    odd = await house.device("odd", block_ms=1e9)
    async with house.planner():
        await house.want(objective="throughput")
        assert "good[0:4)" in str(await house.serving())
        forged = StagesHeld(
            device="odd", boot_id=odd.boot, online=True,
            stages=(
                HeldStage(
                    deployment="cats", generation=2**53, stage="r0s0", model="net", card_sha="0" * 64, first=0, last=1,
                    state="ready",
                ),
            ),
        )  # fmt: skip
        await house.bus.publish(DEVICE_STAGES, forged, device="odd")
        await house.want(objective="latency")
        assert (await house.serving()).generation < 10


async def test_a_model_is_measured_once_and_again_when_it_changed(house: House) -> None:
    house.import_model()
    device = await house.device("pi")
    async with house.planner():
        await house.want()
        await house.serving()
        await house.want("dogs")
        await house.serving("dogs")
        assert device.commands == ["net"]
        house.import_model(blocks=5)
        await house.want()
        plan = await house.serving(generation=2)
        assert plan.routes[0].stages[0].last == 5
        assert device.commands == ["net", "net"]


async def test_an_unknown_model_is_refused_with_what_there_is_and_served_once_it_is_imported(house: House) -> None:
    house.import_model("other")
    await house.device("pi")
    async with house.planner():
        await house.want()
        told = await house.decision("failed")
        assert "'net'" in told.error
        assert "other" in told.error
        assert "stageline import" in told.error
        assert told.generation == 0
        house.import_model()
        await house.serving()


async def test_a_deployment_without_devices_says_how_to_join_and_is_served_when_one_does(house: House) -> None:
    house.import_model()
    await house.want()
    async with house.planner():
        assert "stageline join" in (await house.decision("failed")).error
        await house.device("pi")
        assert (await house.serving()).devices == ("pi",)


async def test_no_device_with_enough_memory_names_need_and_have_of_each(house: House) -> None:
    house.import_model(weight_bytes=1000)
    await house.device("pi", memory_bytes=900)
    await house.device("nano", memory_bytes=800)
    async with house.planner():
        await house.want()
        error = (await house.decision("failed")).error
        assert "does not fit" in error
        assert "pi offers" in error
        assert "nano offers" in error


async def test_taking_a_deployment_back_clears_its_plans_and_a_new_one_continues_the_generations(house: House) -> None:
    house.import_model()
    await house.device("pi")
    async with house.planner():
        await house.want()
        await house.serving()
        await house.bus.clear(DEPLOYMENT, deployment="cats")
        await house.cleared(PLAN_CURRENT, "cats")
        assert (await house.decision("removed")).generation == 1
        await house.want()
        await house.serving(generation=2)


async def test_a_planner_that_starts_again_leaves_a_good_plan_alone_and_goes_on_counting(house: House) -> None:
    house.import_model()
    fast, _ = await house.device("fast"), await house.device("slow", block_ms=5.0)
    async with house.planner():
        await house.want()
        before = await house.serving()
    async with house.planner():
        await house.want("dogs")
        await house.serving("dogs")
        assert house.now[PLAN_CURRENT.template, "cats"] == before
        assert {plan.generation for plan in house.history(PLAN_CURRENT) if plan} == {1}
        await fast.die()
        assert (await house.serving(generation=2)).devices == ("slow",)


async def test_a_planner_that_was_away_when_a_device_died_plans_around_it(house: House) -> None:
    house.import_model()
    fast, _ = await house.device("fast"), await house.device("slow", block_ms=5.0)
    async with house.planner():
        await house.want()
        await house.serving()
    fast.answers = fast.online = False
    async with house.planner(answer_within_s=1.5):
        assert (await house.serving(generation=2)).devices == ("slow",)
        assert "fast (its worker is offline (did not answer))" in (await house.decision("serving")).explanation


async def test_a_deployment_taken_back_while_no_planner_was_there_is_cleared_by_the_next_one(house: House) -> None:
    house.import_model()
    await house.device("pi")
    async with house.planner():
        await house.want()
        await house.serving()
    await house.bus.clear(DEPLOYMENT, deployment="cats")
    async with house.planner():
        await house.cleared(PLAN_CURRENT, "cats")
        await house.decision("removed")


async def test_a_late_will_of_a_life_before_does_not_disturb_the_plan(house: House) -> None:
    house.import_model()
    pi = await house.device("pi")
    async with house.planner():
        await house.want()
        await house.serving()
        late = StagesHeld(device="pi", boot_id="a-life-before", online=False)
        await house.bus.publish(DEVICE_STAGES, late, device="pi", remember=False)
        await pi.tell()
        await house.want("dogs")
        await house.serving("dogs")
        assert house.now[PLAN_CURRENT.template, "cats"].generation == 1


async def test_everybody_can_see_whether_the_planner_is_there(house: House) -> None:
    await house.watch(HUB_STATUS)
    async with house.planner():
        assert (await house.until(HUB_STATUS, "", lambda hub: hub.online)).version
        late_will = HubStatus(online=False, boot_id="a-life-before")
        await house.bus.publish(HUB_STATUS, late_will, remember=False)
        await house.until(HUB_STATUS, "", lambda hub: hub.boot_id == "a-life-before")
        await house.until(HUB_STATUS, "", lambda hub: hub.online)
    await house.until(HUB_STATUS, "", lambda hub: not hub.online)


async def test_of_two_planners_on_the_same_topics_one_leaves_and_says_why(house: House) -> None:
    await house.watch(HUB_STATUS)
    async with house.planner(may_fail=True) as first:
        await house.until(HUB_STATUS, "", lambda hub: hub.online)
        async with house.planner(may_fail=True) as second:
            done, left = await asyncio.wait((first, second), timeout=60, return_when=asyncio.FIRST_COMPLETED)
            assert (len(done), len(left)) == (1, 1)
            with pytest.raises(ExceptionGroup) as caught:
                done.pop().result()
            assert caught.group_contains(SecondPlannerError, match="--root")


async def test_a_broker_that_forgot_everything_is_told_everything_again(root: str, house: House) -> None:
    house.import_model()
    with EmbeddedBroker() as forgetful:
        async with (
            Bus(forgetful.url, name="onlooker", root=root) as bus,
            type(house)(bus, forgetful, root, house.library) as elsewhere,
            elsewhere.planner(answer_within_s=15.0),
        ):
            await elsewhere.watch(DEPLOYMENT)
            await elsewhere.watch(DEVICE_DUTY)
            duty = Duty(device="nano", duty="drain", reason="new fan")
            await bus.publish(DEVICE_DUTY, duty, remember=False, device="nano")
            pi = await elsewhere.device("pi")
            wish = await elsewhere.want()
            plan = await elsewhere.serving()
            forgetful.kill()
            elsewhere.seen.clear()
            elsewhere.now.clear()
            forgetful.restart()
            assert await elsewhere.until(DEPLOYMENT, "cats", lambda _: True) == wish
            assert await elsewhere.until(DEVICE_DUTY, "nano", lambda _: True) == duty
            assert await elsewhere.until(PLAN_CURRENT, "cats", lambda _: True) == plan
            assert (await elsewhere.decision("serving")).generation == 1
            await pi.die()
            assert "offline" in (await elsewhere.decision("failed")).error
