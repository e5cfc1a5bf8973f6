"""The planner keeps plans true on a real broker: devices hang, slow down, join, are drained, share, are compared."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from schemas.accuracy import RouteSeen, Seen
from schemas.deployment import Pin
from schemas.device import Duty
from schemas.topics import (
    DEPLOYMENT,
    DEVICE_DUTY,
    DEVICE_INFO,
    DEVICE_PROFILE,
    DEVICE_STAGES,
    DEVICE_STATUS,
    DEVICE_TELEMETRY,
    PLAN_ACCURACY,
    PLAN_CURRENT,
    PLAN_NEXT,
    SEEN,
)
from services.planner import adapting

if TYPE_CHECKING:
    from tests.services.planner.fake_device import FakeDevice
    from tests.services.planner.house import House

WITHIN_S = 60.0
REPORT_S = 0.5


@pytest.fixture(autouse=True)
def _reviewed_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that several reviews that must agree take no seconds."""
    monkeypatch.setattr(adapting, "REVIEW_S", 0.2)


@contextlib.asynccontextmanager
async def reporting(*devices: FakeDevice, frames: int = 0, period_s: float = REPORT_S) -> AsyncIterator[None]:
    """Devices that answer report how they do, as long as this lasts."""

    async def keep() -> None:
        while True:
            for device in devices:
                if device.answers and device.online:
                    await device.report(frames=frames)
            await asyncio.sleep(period_s)

    task = asyncio.create_task(keep())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


class Elapsed:
    """Time, told by a device that reports all the while: what holds this machine up holds that up, too."""

    def __init__(self, device: FakeDevice) -> None:
        self._device = device
        self._began = device.reports

    @property
    def seconds(self) -> float:
        return (self._device.reports - self._began) * REPORT_S


@contextlib.asynccontextmanager
async def two_served(
    house: House, *, slow_ms: float = 5.0, adapt: bool = True, period_s: float = REPORT_S
) -> AsyncIterator[tuple[FakeDevice, FakeDevice]]:
    """A fast device that serves the model, and a slow one that could."""
    house.import_model()
    fast, slow = await house.device("fast"), await house.device("slow", block_ms=slow_ms)
    async with house.planner(adapt=adapt), reporting(fast, slow, period_s=period_s):
        await house.want()
        assert (await house.serving()).devices == ("fast",)
        yield fast, slow


async def test_a_worker_that_hangs_is_planned_around_within_three_seconds_and_is_used_again_when_it_is_back(
    house: House,
) -> None:
    async with two_served(house) as (fast, slow):
        elapsed = Elapsed(slow)
        await fast.hang()
        assert (await house.serving(generation=2)).devices == ("slow",)
        assert elapsed.seconds < 2 * 3.0
        assert "fast: its worker hangs" in (await house.decision("serving")).cause
        fast.answers = True
        assert (await house.serving(generation=3)).devices == ("fast",)


async def test_a_worker_whose_compute_thread_is_stuck_is_planned_around_though_it_speaks(house: House) -> None:
    async with two_served(house, period_s=0.2) as (fast, _slow):
        fast.stuck_s = 4.0
        assert (await house.serving(generation=2)).devices == ("slow",)
        assert "stuck: 4.0 s at one step" in (await house.decision("serving")).cause


async def test_a_worker_that_no_longer_holds_what_it_serves_is_planned_around(house: House) -> None:
    async with two_served(house) as (fast, _slow):
        await fast.drop_stages()
        assert (await house.serving(generation=2)).devices == ("slow",)
        assert "fast has not held what it should serve" in (await house.decision("serving")).cause


async def test_a_device_that_swallows_frames_is_planned_around_when_its_neighbours_agree(house: House) -> None:
    house.import_model()
    camera, hole = await house.device("camera", block_ms=50.0), await house.device("hole")
    spare = await house.device("spare", block_ms=2.0)
    waiting = RouteSeen(route=0, answers=0, latency_ms=0, waiting=1, silent_s=1.0)

    async def complain() -> None:
        while True:
            seen = Seen(submitter="door", deployment="cats", generation=1, period_s=0.2, routes=(waiting,))
            await house.bus.publish(SEEN, seen, deployment="cats", submitter="door")
            await asyncio.sleep(0.2)

    async with (
        house.planner(),
        reporting(camera, frames=5, period_s=0.2),
        reporting(hole, spare, period_s=0.2),
        asyncio.TaskGroup() as tasks,
    ):
        await house.want(pins=(Pin(device="camera", first=0, last=1),))
        assert (await house.serving()).devices == ("camera", "hole")
        complaining = tasks.create_task(complain())
        assert (await house.serving(generation=2)).devices == ("camera", "spare")
        assert "hole swallows frames: camera sent them" in (await house.decision("serving")).cause
        complaining.cancel()


async def test_a_silent_worker_that_answers_when_asked_loses_nothing(house: House) -> None:
    house.import_model()
    await house.device("quiet")
    await house.device("slow", block_ms=5.0)
    async with house.planner():
        await house.want()
        await house.serving()
        await asyncio.sleep(4.0)
        assert {plan.generation for plan in house.history(PLAN_NEXT) if plan} == {1}


async def test_a_quota_that_shrinks_moves_the_plan_at_once_and_nobody_measures_again(house: House) -> None:
    async with two_served(house, slow_ms=3.0) as (fast, slow):
        elapsed = Elapsed(slow)
        fast.cores = 0.1
        assert (await house.serving(generation=2)).devices == ("slow",)
        assert elapsed.seconds < 2 * 5.0
        assert "0.1 cores" in (await house.decision("serving")).cause
        assert (fast.commands, slow.commands) == (["net"], ["net"])


async def test_a_link_that_becomes_slow_moves_the_plan(house: House) -> None:
    house.import_model()
    near, far = await house.device("near"), await house.device("far", block_ms=2.0)
    async with house.planner(), reporting(near, far):
        await house.want()
        assert (await house.serving()).devices == ("near",)
        near.mbps = 0.05
        assert (await house.serving(generation=2)).devices == ("far",)
        assert "near takes" in (await house.decision("serving")).cause


async def test_a_device_that_joins_measures_and_is_used_where_it_helps(house: House) -> None:
    house.import_model()
    slow = await house.device("slow", block_ms=5.0)
    async with house.planner(), reporting(slow):
        await house.want()
        assert (await house.serving()).devices == ("slow",)
        fast = await house.device("fast", block_ms=0.5)
        assert (await house.serving(generation=2)).devices == ("fast",)
        assert "fast joined" in (await house.decision("serving")).cause
        assert fast.commands == ["net"]


async def test_a_planner_that_is_not_to_adapt_leaves_plans_as_they_are(house: House) -> None:
    async with two_served(house, slow_ms=3.0, adapt=False) as (fast, _slow):
        fast.cores = 0.1
        await house.device("faster", block_ms=0.1)
        await asyncio.sleep(4.0)
        assert house.now[PLAN_CURRENT.template, "cats"].generation == 1


async def test_a_device_that_is_drained_is_replaced_while_it_serves_and_comes_back_when_that_is_undone(
    house: House,
) -> None:
    async with two_served(house) as (_fast, slow):
        slow.state = "loading"
        await house.bus.publish(DEVICE_DUTY, Duty(device="fast", duty="drain"), device="fast", remember=False)
        upcoming = await house.until(PLAN_NEXT, "cats", lambda plan: plan.generation == 2)
        assert upcoming.devices == ("slow",)
        assert house.now[PLAN_CURRENT.template, "cats"].devices == ("fast",)
        slow.state = "ready"
        await slow.tell()
        assert (await house.serving(generation=2)).devices == ("slow",)
        assert "fast: it is being drained" in (await house.decision("serving")).cause
        await house.bus.clear(DEVICE_DUTY, device="fast")
        assert (await house.serving(generation=3)).devices == ("fast",)


async def test_a_device_that_is_forgotten_is_no_longer_spoken_of(house: House) -> None:
    house.import_model()
    gone, _ = await house.device("gone"), await house.device("slow", block_ms=5.0)
    async with house.planner():
        await house.want()
        await house.serving()
        await gone.die()
        await house.serving(generation=2)
        assert "gone (its worker is offline" in (await house.decision("serving")).explanation
        for topic in (DEVICE_STAGES, DEVICE_STATUS, DEVICE_INFO, DEVICE_TELEMETRY):
            await house.bus.clear(topic, device="gone")
        await house.bus.clear(DEVICE_PROFILE, device="gone", model="net")
        await house.want()
        await house.serving(generation=3)
        assert "gone" not in (await house.decision("serving", generation=3)).explanation


async def test_what_was_predicted_is_told_beside_what_is_measured_until_the_deployment_goes(house: House) -> None:
    house.import_model()
    await house.watch(PLAN_ACCURACY)
    pi = await house.device("pi")
    pi.slower = 1.05
    async with house.planner(), reporting(pi, frames=20):
        await house.want()
        plan = await house.serving()
        predicted = plan.routes[0].stage_predictions[0].compute_ms
        told = await house.until(
            PLAN_ACCURACY, "cats", lambda one: one.stages and one.stages[0].compute_ms.samples > 40
        )
        assert abs(told.stages[0].compute_ms.measured - 1.05 * predicted) < 0.05
        assert abs(told.error - 0.05) < 0.01
        sight = Seen(
            submitter="laptop", deployment="cats", generation=1, period_s=1.0,
            routes=(RouteSeen(route=0, answers=7, latency_ms=9.0, waiting=1),),
        )  # fmt: skip
        await house.bus.publish(SEEN, sight, deployment="cats", submitter="laptop")
        told = await house.until(PLAN_ACCURACY, "cats", lambda one: bool(one.routes))
        assert (told.routes[0].latency_ms.measured, told.routes[0].throughput_rps.measured) == (9.0, 7.0)
        await house.bus.clear(DEPLOYMENT, deployment="cats")
        await house.cleared(PLAN_ACCURACY, "cats")


async def test_a_route_that_is_slow_though_its_stages_are_not_has_its_link_probed(house: House) -> None:
    house.import_model()
    pi = await house.device("pi")
    async with house.planner(), reporting(pi, frames=20):
        await house.want()
        await house.serving()
        slow = RouteSeen(route=0, answers=3, latency_ms=900.0, waiting=1)
        async with asyncio.timeout(WITHIN_S):
            while not pi.probes:
                sight = Seen(submitter="laptop", deployment="cats", generation=1, period_s=1.0, routes=(slow,))
                await house.bus.publish(SEEN, sight, deployment="cats", submitter="laptop")
                await asyncio.sleep(0.6)
        assert pi.commands == ["net"]


async def test_two_deployments_share_the_fleet_by_weight_and_each_keeps_its_own_plan(house: House) -> None:
    house.import_model()
    house.import_model("other")
    one, two = await house.device("one"), await house.device("two", block_ms=1.5)
    async with house.planner(), reporting(one, two):
        await house.want(weight=3.0)
        assert (await house.serving()).devices == ("one",)
        await house.want("dogs", "other")
        plan = await house.serving("dogs")
        assert (plan.devices, plan.weight) == (("two",), 1.0)
        assert house.now[PLAN_CURRENT.template, "cats"].weight == 3.0
        await house.bus.clear(DEPLOYMENT, deployment="cats")
        assert (await house.serving("dogs", generation=2)).devices == ("one",)


async def test_a_deployment_that_only_lacks_its_share_of_memory_has_the_other_make_room_first(house: House) -> None:
    house.import_model(weight_bytes=20_000_000)
    house.import_model("other", weight_bytes=20_000_000)
    pi = await house.device("pi", memory_bytes=150_000_000)
    far = await house.device("far", block_ms=2.0, memory_bytes=150_000_000)
    pi.stage_bytes = far.stage_bytes = 90_000_000
    async with house.planner(), reporting(pi, far):
        await house.want()
        assert (await house.serving()).devices == ("pi",)
        await house.want("dogs", "other", weight=3.0, pins=(Pin(device="pi", first=0, last=4),))
        assert "cats must make room on pi first" in (await house.decision("failed", "dogs")).error
        assert (await house.serving(generation=2)).devices == ("far",)
        assert (await house.decision("serving")).cause == "dogs needs its share of memory"
        assert (await house.serving("dogs")).devices == ("pi",)


async def test_nobody_is_moved_for_a_deployment_that_would_not_fit_anyway(house: House) -> None:
    house.import_model(weight_bytes=20_000_000)
    house.import_model("huge", weight_bytes=100_000_000)
    pi = await house.device("pi", memory_bytes=150_000_000)
    async with house.planner(), reporting(pi):
        await house.want()
        await house.serving()
        await house.want("dogs", "huge")
        assert "make room" not in (await house.decision("failed", "dogs")).error
        assert {plan.generation for plan in house.history(PLAN_NEXT) if plan} == {1}


async def test_after_a_loss_nobody_waits_for_a_device_that_has_not_measured(house: House) -> None:
    house.import_model()
    fast, _ = await house.device("fast"), await house.device("slow", block_ms=5.0)
    async with house.planner():
        await house.want()
        await house.serving()
        mute = await house.device("mute")
        mute.measures = False
        await fast.die()
        assert (await house.serving(generation=2)).devices == ("slow",)
        assert "mute (has not measured net yet)" in (await house.decision("serving")).explanation
