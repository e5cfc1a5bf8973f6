"""Planner, broker and monitor die: the line goes on, or comes back, without anybody's help."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

from bench.chaos.asked_again import asked_again
from bench.chaos.left_alone import left_alone
from bench.chaos.scenario import DEPLOYMENT, Load, Scenario
from bench.chaos.scene import Scene
from bench.chaos.wishes import replicas
from broker.delivery import Delivery
from schemas.device import DeviceStatus
from schemas.topics import DEPLOYMENT as WISH
from schemas.topics import DEVICE_STATUS, HUB_STATUS, MODEL_CARD, PLAN_CURRENT
from services.planner.fleet import read_fleet

_WITHOUT_PLANNER_S: Final = 3.0
_WITHOUT_BROKER_S: Final = 1.0
_LEFT_ALONE_S: Final = 6.0
"""For a planner that is back to do something about a good plan; it reviews plans about once a second."""
_STARTED_WITHIN_S: Final = 40.0
"""Of a service on a busy machine."""


async def _planner_killed(scene: Scene) -> None:
    before = scene.plan
    patience = 0.3 if scene.quick else 1.0
    async with scene.bus.subscribe(HUB_STATUS) as births:
        scene.strike("SIGKILL the planner")
        killed_s = scene.now_s
        await scene.here(scene.bed.house.kill_planner)
        await asyncio.sleep(_WITHOUT_PLANNER_S * patience)
        alone = sum(one.answered and one.at_s > killed_s for one in scene.record.shown)
        scene.demand(alone > 0, "nothing was answered while there was no planner")
        scene.mark("the planner is started again")
        started_s = scene.now_s
        await scene.here(scene.bed.house.start_planner)
        async with asyncio.timeout(_STARTED_WITHIN_S):
            async for birth in births:
                if birth.message.online and not birth.retained:
                    break
    scene.figure("planner_back_ms", (scene.mark("it is back") - started_s) * 1000)
    await asyncio.sleep(_LEFT_ALONE_S * patience)
    left_alone(scene, before)
    latest = scene.record.generation
    decision = await asked_again(scene)
    scene.demand(
        decision.generation == latest + 1, f"the plan after generation {latest} is of generation {decision.generation}"
    )
    await scene.answered(decision.generation, within_s=20)
    scene.say(f"{alone} answers without a planner; generation {latest} stayed, then came {decision.generation}")


async def _broker_killed(scene: Scene) -> None:
    before, names = scene.plan, [device.name for device in scene.bed.devices]
    scene.strike("SIGKILL the broker")
    await scene.here(scene.bed.broker.kill)
    await asyncio.sleep(_WITHOUT_BROKER_S)
    await scene.here(scene.bed.broker.restart)
    back_s = scene.mark("another broker is there, and knows nothing")

    def answered() -> bool:
        return any(one.answered and one.at_s > back_s for one in scene.record.shown)

    scene.figure("answer_after_broker_ms", (await scene.until(answered, "an answer", within_s=30) - back_s) * 1000)
    scene.figure("fleet_after_broker_ms", (await scene.usable(*names, within_s=40) - back_s) * 1000)
    missing: dict[str, bool] = {}
    async with asyncio.timeout(40):
        while not missing or any(missing.values()):
            missing = {
                "the plan": not await scene.bus.snapshot(PLAN_CURRENT, deployment=DEPLOYMENT),
                "the wish": not await scene.bus.snapshot(WISH, deployment=DEPLOYMENT),
                "the model's card": not await scene.bus.snapshot(MODEL_CARD, model=scene.card.name),
            }
            await asyncio.sleep(0.1)
    scene.figure("told_after_broker_ms", (scene.now_s - back_s) * 1000)
    scene.say(f"generation {before.generation} before, {scene.record.generation} after; every device was back")


async def _monitor_killed(scene: Scene) -> None:
    before = scene.plan
    victim = before.devices[0]
    device = scene.bed.device(victim)
    async with AsyncExitStack() as mended, scene.bus.subscribe(DEVICE_STATUS, device=victim) as states:
        mended.callback(device.start)
        scene.strike(f"SIGKILL {victim}'s monitor")
        struck_s = scene.now_s
        await scene.here(lambda: device.kill("monitor"))
        scene.figure("marked_stale_ms", (await _told(scene, states, online=False) - struck_s) * 1000)
        await asyncio.sleep(_LEFT_ALONE_S * (0.3 if scene.quick else 1.0))
        known = (await read_fleet(scene.bus)).devices[victim]
        scene.demand(known.stale, f"nothing says that {victim}'s telemetry is old")
        left_alone(scene, before)
        decision = await asked_again(scene)
        scene.demand(victim in scene.plan.devices, f"{scene.plan} does without {victim}, whose worker is well")
        after = scene.plan
        await scene.answered(decision.generation, within_s=20)
        started_s = scene.mark("its monitor is started again")
        await scene.here(device.start)
        scene.figure("fresh_again_ms", (await _told(scene, states, online=True) - started_s) * 1000)
    await asyncio.sleep(0 if scene.quick else 3)
    left_alone(scene, after)


async def _told(scene: Scene, states: AsyncIterator[Delivery[DeviceStatus]], *, online: bool) -> float:
    """When it was said that a monitor is there, or is not."""
    async with asyncio.timeout(_STARTED_WITHIN_S):
        async for state in states:
            if state.message.online == online and not state.retained:
                break
    return scene.now_s


SCENARIOS: Final = (
    Scenario(
        name="planner-killed",
        must_hold="answers never stop; the next planner goes on counting and leaves a good plan alone",
        wish=replicas,
        fault=_planner_killed,
        limits={"longest_silence_ms": 500},
    ),
    Scenario(
        name="broker-killed",
        must_hold="everything reconnects to an empty broker; all requests answered within their deadlines",
        wish=replicas,
        fault=_broker_killed,
        load=Load(deadline_s=15),
        limits={"answer_after_broker_ms": 10_000, "fleet_after_broker_ms": 15_000},
    ),
    Scenario(
        name="monitor-killed",
        must_hold="plans go on with telemetry that is marked as stale",
        wish=replicas,
        fault=_monitor_killed,
        limits={"marked_stale_ms": 2000, "longest_silence_ms": 500},
    ),
)
