"""A submitter that dies in the middle of asking for more than there is."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from bench.chaos.scenario import DEPLOYMENT, Scenario
from bench.chaos.scene import Scene
from bench.chaos.submitter import STARTED_WITHIN_S, Pace, said, start
from bench.chaos.wishes import pipeline
from schemas.topics import ANSWER, DEVICE_TIMING

_DEADLINE_S: Final = 2.0
_ONE_MORE_S: Final = 1.0
"""An answer that was being computed when its request's time ran out is sent all the same."""


async def _submitter_killed(scene: Scene) -> None:
    spoken: list[float] = []
    deadline_s = _DEADLINE_S / 2 if scene.quick else _DEADLINE_S

    def hear() -> None:
        spoken.append(scene.now_s)

    async def listen() -> None:
        async for _ in words:
            hear()

    async with AsyncExitStack() as stack:
        words = await stack.enter_async_context(scene.bus.subscribe_bytes(ANSWER.address(submitter="doomed")))
        pace = Pace(rate_rps=_more_than_there_is_rps(scene), seconds=600, deadline_s=deadline_s)
        doomed = start(scene.bed.url, DEPLOYMENT, "doomed", pace)
        stack.callback(doomed.wait)
        stack.callback(doomed.kill)
        listening = asyncio.create_task(listen())
        stack.callback(listening.cancel)
        await said(doomed, STARTED_WITHIN_S)
        await scene.until(lambda: len(spoken) >= 20, "another submitter is being answered", within_s=30)
        scene.strike("SIGKILL a submitter that asks for more than there is")
        killed_s = scene.now_s
        doomed.kill()
        await asyncio.sleep(deadline_s + _ONE_MORE_S)
        waiting = await _waiting(scene)
        after = [at_s for at_s in spoken if at_s > killed_s]
        scene.figure("answers_to_the_dead", len(after))
        scene.figure("last_word_ms", (max(after, default=killed_s) - killed_s) * 1000)
        scene.figure("frames_waiting", waiting)
        window = sum(route.window for route in scene.plan.routes)
        # What is under way for others passes from one device to the next between their reports.
        most = window * len(scene.plan.devices)
        scene.demand(waiting <= most, f"{waiting} frames wait at workers, more than the window of one submitter")
        scene.demand(len(after) <= 2 * window, f"{len(after)} answers were made for nobody")


def _more_than_there_is_rps(scene: Scene) -> float:
    predicted = scene.plan.predicted
    return 3 * predicted.throughput_rps if predicted is not None else 300.0


async def _waiting(scene: Scene) -> int:
    """Frames that workers have taken in and not handed on, by the next report of each."""
    now: dict[str, int] = {}
    async with asyncio.timeout(10), scene.bus.subscribe(DEVICE_TIMING) as reports:
        async for report in reports:
            now[report.message.device] = report.message.queue_depth
            if now.keys() >= set(scene.plan.devices):
                break
    return sum(now[device] for device in scene.plan.devices)


SCENARIOS: Final = (
    Scenario(
        name="submitter-killed",
        must_hold="nothing is left queued for it after its deadline; others are unaffected",
        wish=pipeline,
        fault=_submitter_killed,
        limits={"last_word_ms": 1000 * (_DEADLINE_S + _ONE_MORE_S), "longest_silence_ms": 1000},
    ),
)
