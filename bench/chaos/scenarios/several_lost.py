"""Two of three devices are lost at once: the third serves alone, or the error says what memory is missing."""

from __future__ import annotations

import re
from typing import Final

from bench.chaos.scenario import GIGABIT, Load, Scenario
from bench.chaos.scene import Scene
from bench.chaos.wishes import pipeline, replicas

_WAIT_S: Final = 30.0
_LEFT: Final = "bee"
_NAMES_MEMORY: Final = re.compile(r"does not fit: it needs [\d.]+ MB in one piece; .*[\d.]+ MB missing")


async def _lose_two(scene: Scene) -> list[str]:
    lost = [device.name for device in scene.bed.devices if device.name != _LEFT]
    await scene.crowded()
    scene.strike(f"SIGKILL the workers of {' and '.join(lost)}")
    for name in lost:
        scene.bed.device(name).kill("worker")
    return lost


async def _start_again(scene: Scene, lost: list[str]) -> None:
    scene.mark(f"{' and '.join(lost)} start again")
    for name in lost:
        scene.bed.device(name).start()
    await scene.usable(*lost)


async def _fits(scene: Scene) -> None:
    before = scene.plan
    lost = await _lose_two(scene)

    def alone() -> bool:
        return scene.plan.devices == (_LEFT,)

    await scene.until(alone, f"{_LEFT} serves alone", within_s=_WAIT_S)
    scene.say(f"{before}, then {scene.plan}")
    await scene.answered(scene.plan.generation, within_s=_WAIT_S, count=20)
    await _start_again(scene, lost)


async def _does_not_fit(scene: Scene) -> None:
    record = scene.record
    lost = await _lose_two(scene)
    struck_s = scene.now_s

    def refused() -> bool:
        return any(decision.state == "failed" for at_s, decision in record.decisions if at_s >= struck_s)

    await scene.until(refused, "the planner says that there is no plan", within_s=_WAIT_S)
    error = next(decision.error for _, decision in reversed(record.decisions) if decision.state == "failed")
    scene.demand(bool(_NAMES_MEMORY.search(error)), f"the planner's error names no missing memory: {error}")
    scene.say(f"the planner: {error}")

    def failed() -> int:
        return sum(not one.answered for one in record.shown)

    await scene.until(lambda: failed() >= 10, "requests fail by their deadline", within_s=_WAIT_S)
    detail = next(one.detail for one in reversed(record.shown) if not one.answered)
    scene.demand(bool(_NAMES_MEMORY.search(detail)), f"a failed request's error names no missing memory: {detail}")
    scene.say(f"a request: {detail}")
    generation = record.generation
    await _start_again(scene, lost)
    plan = await scene.replanned(within_s=_WAIT_S, beyond=generation)
    await scene.answered(plan.generation, within_s=_WAIT_S, count=20)


SCENARIOS: Final = (
    Scenario(
        name="two-lost-third-serves",
        must_hold="the third device serves alone",
        fleet=GIGABIT,
        wish=replicas,
        fault=_fits,
    ),
    Scenario(
        name="two-lost-too-large",
        must_hold="requests fail with the missing memory named; served again when the devices are back",
        fleet=GIGABIT,
        wish=pipeline,
        fault=_does_not_fit,
        load=Load(deadline_s=3.0),
        may_fail=True,
    ),
)
