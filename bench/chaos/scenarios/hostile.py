"""What is old, said twice, or stamped by a wrong clock: dropped, or harmless."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from bench.chaos.asked_again import asked_again
from bench.chaos.left_alone import left_alone
from bench.chaos.scenario import Scenario
from bench.chaos.scene import Scene
from bench.chaos.skewed_clock import command, set_skew
from bench.chaos.tape import recording, replay, towards
from bench.chaos.wishes import pipeline, replicas
from broker.bus import Bus
from broker.delivery import Delivery
from schemas.device import Telemetry
from schemas.topics import DEVICE_TELEMETRY, DEVICE_TIMING

_HOUR_S: Final = 3600.0
_REJECTED: Final = "wrong-generation"


async def _replayed(scene: Scene) -> None:
    count = 20 if scene.quick else 40
    async with Bus(scene.bed.url, name="eavesdropper") as bus, _rejections(scene.bus) as rejected:
        async with recording(bus, most=count) as tape:
            await scene.until(lambda: len(tape.answers) == count, f"{count} answers to record", within_s=40)
        old = scene.plan.generation
        await scene.answered((await asked_again(scene)).generation, within_s=20)
        async with recording(bus, most=count) as newer:
            await scene.until(lambda: len(newer.answers) == count, f"{count} answers to record", within_s=40)
        now, audit = scene.plan, scene.client.audit
        dropped = audit.duplicates_dropped + audit.late_dropped
        refused = sum(rejected.values())
        scene.strike(f"all that was recorded of generation {old} is said again")
        said = await replay(bus, tape.work)
        scene.mark(f"and again, to generation {now.generation}")
        said += await replay(bus, tape.work, lambda address: towards(address, now))
        scene.mark("and all answers, twice")
        for recorded in (tape.answers, newer.answers) * 2:
            said += await replay(bus, recorded)
        scene.mark("and the latest work, which is done again")
        said += await replay(bus, newer.work)
        await scene.until(
            lambda: sum(rejected.values()) - refused >= len(tape.work), "every old frame is refused", within_s=30
        )
        await scene.until(
            lambda: audit.duplicates_dropped + audit.late_dropped - dropped >= 4 * count,
            "all answers that came again are dropped", within_s=30,
        )  # fmt: skip
        dropped = audit.duplicates_dropped + audit.late_dropped - dropped
        scene.figure("replayed", said)
        scene.figure("answers_dropped", dropped)
        scene.figure("frames_refused", sum(rejected.values()) - refused)
        scene.say(f"{said} messages said again: {dropped} answers dropped, {dict(rejected)} frames refused")


@asynccontextmanager
async def _rejections(bus: Bus) -> AsyncIterator[Counter[str]]:
    """Frames that workers refused for being of another generation, by device, as they report it."""
    refused: Counter[str] = Counter()

    async def follow() -> None:
        async for report in reports:
            refused[report.message.device] = report.message.rejected.get(_REJECTED, 0)

    async with bus.subscribe(DEVICE_TIMING) as reports:
        following = asyncio.create_task(follow())
        try:
            yield refused
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _clock_jumped(scene: Scene) -> None:
    victim = scene.plan.devices[0]
    device, skew = scene.bed.device(victim), scene.folder / "skew"
    usual = device.python
    wait_s = 1.0 if scene.quick else 4.0
    async with AsyncExitStack() as mended, scene.bus.subscribe(DEVICE_TELEMETRY, device=victim) as telemetry:
        mended.callback(set_skew, skew, 0.0)
        # As a Pi starts, which has no battery for its clock; its new life's name sorts before the one that was.
        set_skew(skew, -_HOUR_S)
        device.python = command(skew)
        await scene.here(device.stop_services)
        await scene.here(device.start)
        device.python = usual  # from its next start on
        scene.mark(f"{victim} has started, an hour behind")
        await _ahead(telemetry, -_HOUR_S)
        await scene.usable(victim)
        decision = await asked_again(scene)
        scene.demand(victim in scene.plan.devices, f"{scene.plan} does without {victim}, whose clock alone is wrong")
        plan = scene.plan
        await scene.answered(decision.generation, within_s=20)
        scene.strike(f"{victim}'s clock jumps an hour, to the right time")
        set_skew(skew, 0.0)
        await _ahead(telemetry, 0.0)
        await asyncio.sleep(wait_s)
        scene.mark("and another, ahead of everybody")
        set_skew(skew, _HOUR_S)
        await _ahead(telemetry, _HOUR_S)
        await asyncio.sleep(wait_s)
        left_alone(scene, plan)
        lately = sum(one.answered and one.at_s > scene.now_s - wait_s for one in scene.record.shown)
        scene.demand(lately > 0, "nothing was answered after the jump")
        scene.say(
            f"{victim} started an hour behind, was right, and ended an hour ahead: generation {decision.generation}"
        )


async def _ahead(telemetry: AsyncIterator[Delivery[Telemetry]], seconds: float) -> None:
    """Return when a device's monitor stamps its telemetry so far ahead of our clock."""
    async with asyncio.timeout(40):
        async for report in telemetry:
            if not report.retained and abs(report.message.unix_time - time.time() - seconds) < _HOUR_S / 10:
                return


SCENARIOS: Final = (
    Scenario(
        name="replayed",
        must_hold="old frames are refused and counted, answers that come again are dropped",
        wish=pipeline,
        fault=_replayed,
        limits={"longest_silence_ms": 2000},
    ),
    Scenario(
        name="clock-jump",
        must_hold="a device's clock jumps an hour, twice: no plan changes, nothing is late",
        wish=replicas,
        fault=_clock_jumped,
        limits={"longest_silence_ms": 500},
    ),
)
