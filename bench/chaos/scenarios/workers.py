"""A worker is killed, hangs, or gets a quarter of its processor: the plan goes around it, or follows."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Final

from bench.chaos.scenario import GIGABIT, Load, Scenario
from bench.chaos.scene import Scene
from bench.chaos.wishes import pipeline, quickest, replicas
from schemas.plan import Plan
from schemas.topics import DEVICE_TELEMETRY

_WAIT_S: Final = 30.0
"""For what has a limit of its own in the figures; a scenario that needs longer than this has failed anyway."""
QUOTA: Final = 0.25
WHOLE: Final = 1.0
"""Cores of every device before: moving must be worth it, or the right plan is the one there is."""
_LATE_S: Final = 5.0
_SETTLED: Final = 40
"""Answers with the whole core before most of it is taken away."""


def last_of(plan: Plan) -> str:
    """The device whose answers go to the submitter: of its first route."""
    return plan.routes[0].devices[-1]


async def _killed(scene: Scene) -> None:
    victim = last_of(scene.plan)
    before = scene.plan
    await scene.crowded()
    await scene.busy(victim)
    scene.strike(f"SIGKILL {victim}'s worker")
    scene.bed.device(victim).kill("worker")
    plan = await scene.replanned(within_s=_WAIT_S)
    scene.demand(victim not in plan.devices, f"{plan} uses {victim}, which is dead")
    scene.say(f"{before}, then {plan}: {scene.cause(plan.generation)}")
    await scene.answered(plan.generation, within_s=_WAIT_S)
    scene.mark(f"{victim} starts again")
    scene.bed.device(victim).start()
    await scene.usable(victim)


async def _hangs(scene: Scene) -> None:
    victim = last_of(scene.plan)
    before = scene.plan
    worker = scene.bed.device(victim).pid("worker")
    await scene.crowded()
    await scene.busy(victim)
    scene.strike(f"SIGSTOP {victim}'s worker")
    os.kill(worker, signal.SIGSTOP)
    try:
        plan = await scene.replanned(within_s=_WAIT_S)
        scene.demand(victim not in plan.devices, f"{plan} uses {victim}, which hangs")
        scene.say(f"{before}, then {plan}: {scene.cause(plan.generation)}")
        await scene.answered(plan.generation, within_s=_WAIT_S, count=10)
    finally:
        continued_s = scene.mark("SIGCONT")
        os.kill(worker, signal.SIGCONT)
    audit = scene.client.audit

    def late() -> int:
        return audit.late_dropped + audit.duplicates_dropped + scene.client.rejected.total()

    await scene.heard(victim, since_s=continued_s, within_s=_WAIT_S)
    scene.demand(
        await scene.whatever_comes(scene.until(lambda: late() > 0, "late", within_s=_LATE_S), within_s=_LATE_S),
        f"{victim} had frames, and no late answer of it was seen to be dropped",
    )
    scene.figure("late_answers_dropped", late())


async def _throttled(scene: Scene) -> None:
    stated = {device.name: device.cores for device in scene.bed.devices}
    scene.mark("each gets a whole core")
    for name in stated:
        scene.bed.set_cores(name, WHOLE)
    try:
        for name in stated:
            await _told(scene, name, WHOLE)
        await scene.answered(0, within_s=_WAIT_S, count=len(scene.record.shown) + _SETTLED)
        before = scene.plan
        victim = max(before.routes[0].stages, key=lambda stage: stage.last - stage.first).device
        scene.strike(f"{victim}: {WHOLE:.1f} cores, now {QUOTA:g}")
        scene.bed.set_cores(victim, QUOTA)
        plan = await scene.replanned(within_s=_WAIT_S)
        scene.demand(plan.routes != before.routes, f"generation {plan.generation} is the same plan: {plan}")
        scene.say(f"{before}, then {plan}: {scene.cause(plan.generation)}")
        await scene.answered(plan.generation, within_s=_WAIT_S, count=20)
    finally:
        for name, cores in stated.items():
            scene.bed.set_cores(name, cores)


async def _told(scene: Scene, device: str, cores: float) -> None:
    """Return when a device's monitor has noticed how much it may use."""
    async with asyncio.timeout(_WAIT_S), scene.bus.subscribe(DEVICE_TELEMETRY, device=device) as telemetry:
        async for one in telemetry:
            if abs(one.message.capacity_cores - cores) < 0.01:
                return


SCENARIOS: Final = (
    Scenario(
        name="worker-killed-in-pipeline",
        must_hold="first answer on the new plan within 2 s",
        fleet=GIGABIT,
        wish=pipeline,
        fault=_killed,
        limits={"first_answer_ms": 2000},
    ),
    Scenario(
        name="worker-killed-among-replicas",
        must_hold="first answer on the new plan within 2 s",
        fleet=GIGABIT,
        wish=replicas,
        fault=_killed,
        limits={"first_answer_ms": 2000},
    ),
    Scenario(
        name="worker-hangs",
        must_hold="planned around within 3 s; its late answers are harmless",
        fleet=GIGABIT,
        wish=pipeline,
        fault=_hangs,
        limits={"replan_ms": 3000},
        needs=frozenset({"groups"}),
    ),
    Scenario(
        name="quota-cut",
        must_hold="a new plan serves within 5 s; no silence over 200 ms",
        wish=quickest,
        fault=_throttled,
        limits={"first_answer_ms": 5000, "longest_silence_ms": 200},
        load=Load(rate_rps=20.0),
        needs=frozenset({"groups"}),
    ),
)
