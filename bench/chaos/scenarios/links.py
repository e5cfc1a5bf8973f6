"""A device's network is cut and comes back, or becomes twenty times slower."""

from __future__ import annotations

from typing import Final

from bench.chaos.scenario import GIGABIT, Load, Scenario
from bench.chaos.scenarios.workers import last_of
from bench.chaos.scene import Scene
from bench.chaos.wishes import pipeline, quickest
from stageline.emulation.fleet_file import FleetLink

KEEPALIVE_S: Final = 5
"""Of every connection (`broker.bus.Bus`)."""
SLOW: Final = FleetLink(up_mbps=5, down_mbps=5)
_WAIT_S: Final = 40.0
_REJOIN_S: Final = 60.0


async def _cut(scene: Scene) -> None:
    victim = last_of(scene.plan)
    before = scene.plan
    await scene.crowded()
    scene.strike(f"{victim}'s cable is pulled")
    scene.bed.cut(victim)
    try:
        plan = await scene.replanned(within_s=_WAIT_S)
        scene.demand(victim not in plan.devices, f"{plan} uses {victim}, which is cut off")
        scene.say(f"{before}, then {plan}: {scene.cause(plan.generation)}")
        await scene.answered(plan.generation, within_s=_WAIT_S, count=10)
    finally:
        mended_s = scene.mark("put back")
        scene.bed.mend(victim)
    back_s = await scene.heard(victim, since_s=mended_s, within_s=_REJOIN_S)
    scene.figure("rejoined_ms", (back_s - mended_s) * 1000)
    scene.mark(f"{victim} is back")


async def _slow(scene: Scene) -> None:
    victim = last_of(scene.plan)
    before = scene.plan
    link = next(device.link for device in scene.bed.fleet.devices if device.name == victim)
    if link is None:
        raise ValueError(f"fleet {scene.bed.fleet.name} states no link of {victim}: give it one")
    scene.strike(f"{victim}: {link.up_mbps:g} Mbit/s, now {SLOW.up_mbps:g}")
    scene.bed.set_link(victim, SLOW)
    try:
        plan = await scene.replanned(within_s=_WAIT_S)
        changed = (plan.routes, plan.input_codec) != (before.routes, before.input_codec)
        scene.demand(changed, f"generation {plan.generation} is the same plan: {plan}")
        scene.say(f"{before}, then {plan}: {scene.cause(plan.generation)}")
        await scene.answered(plan.generation, within_s=_WAIT_S, count=20)
    finally:
        scene.bed.set_link(victim, link)


SCENARIOS: Final = (
    Scenario(
        name="network-cut",
        must_hold=f"an answer on the new plan within 1.5 x keepalive ({KEEPALIVE_S} s) + 2 s; it rejoins by itself",
        fleet=GIGABIT,
        wish=pipeline,
        fault=_cut,
        limits={"first_answer_ms": 1500 * KEEPALIVE_S + 2000, "rejoined_ms": _REJOIN_S * 1000},
        needs=frozenset({"links"}),
    ),
    Scenario(
        name="link-slow",
        must_hold="codec or plan changes within 10 s",
        wish=quickest,
        fault=_slow,
        limits={"replan_ms": 10_000},
        load=Load(rate_rps=15.0),
        needs=frozenset({"links"}),
    ),
)
