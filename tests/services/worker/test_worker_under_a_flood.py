"""Five times as many frames as a worker can compute: its memory stays where it was, and it goes on listening."""

import asyncio
import os
import time
from typing import Any

import numpy as np
import psutil

from schemas.device import Claim
from schemas.frame import encode_frame
from schemas.stages import Timing
from schemas.topics import DEVICE_CLAIM, DEVICE_TIMING

FLOOD_S = 4.0
"""At least: it goes on until all has been answered that is asked meanwhile."""
TIMES_CAPACITY = 5
RECEIVE_MAXIMUM = 8
MORE_MEMORY_BYTES = 64 << 20
ANSWERED_WITHIN_S = 20.0


async def test_a_flood_waits_at_the_broker_while_new_plans_and_claims_are_answered(lab: Any) -> None:
    worker = lab.start("pi4", receive_maximum=str(RECEIVE_MAXIMUM), timing_period_s="0.5", drain_s="60")
    plan, after = (lab.plan("pi4[0:)", generation=g, model="slow") for g in (1, 2))
    await lab.hub.roll_out(plan)
    flood_requests: list[str] = []
    picture = np.random.default_rng(1).standard_normal((1, 8, 56, 56)).astype(np.float32)

    async def one(expiry_s: int = 15) -> None:
        header = lab.submitter.header(plan, budget_ms=expiry_s * 1000.0)
        flood_requests.append(header.request)
        await lab.submitter.send(plan, encode_frame(header, {"x": picture}), request=header.request, expiry_s=expiry_s)

    started = time.monotonic()
    for _ in range(30):
        assert (await lab.submitter.ask(plan, picture)).header.kind == "answer"
    pause_s = (time.monotonic() - started) / 30 / TIMES_CAPACITY
    process = psutil.Process(worker.process.pid)
    before_bytes = process.memory_info().rss
    most_bytes = 0
    timings: list[Timing] = []
    enough = asyncio.Event()

    async def flood() -> None:
        ends = time.monotonic() + FLOOD_S
        due = time.monotonic()
        async with asyncio.TaskGroup() as sending:
            while due < ends or not enough.is_set():
                sending.create_task(one(expiry_s=int(FLOOD_S) - 1))
                due += pause_s
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def watch() -> None:
        nonlocal most_bytes
        while True:
            most_bytes = max(most_bytes, process.memory_info().rss)
            await asyncio.sleep(0.05)

    async def listen() -> None:
        async with lab.hub.bus.subscribe(DEVICE_TIMING, device="pi4") as deliveries:
            async for delivery in deliveries:
                timings.append(delivery.message)  # noqa: PERF401  it is cancelled in the middle

    async with asyncio.TaskGroup() as tasks:
        aside = [tasks.create_task(watch()), tasks.create_task(listen())]
        flooding = tasks.create_task(flood())
        await asyncio.sleep(FLOOD_S / 4)
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            await lab.hub.next(after)
            await lab.hub.ready("pi4", after)
        told = len(lab.hub.history)
        claim = Claim(device="pi4", boot_id=f"newcomer-{os.getpid()}", role="worker", hostname="elsewhere")
        await lab.hub.bus.publish(DEVICE_CLAIM, claim, device="pi4")
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            await lab.hub.held("pi4", lambda _: len(lab.hub.history) > told)
        enough.set()
        await flooding
        waiting = [request for request in flood_requests if request not in lab.submitter.answers]
        await lab.hub.current(after)
        assert (await lab.submitter.ask(after, picture)).header.kind == "answer"
        for task in aside:
            task.cancel()
    assert most_bytes <= before_bytes + MORE_MEMORY_BYTES
    assert len(timings) >= FLOOD_S / 0.5 / 2
    assert max(timing.queue_depth for timing in timings) <= RECEIVE_MAXIMUM * 2
    assert len(waiting) > RECEIVE_MAXIMUM * 2  # it was a flood: more than the worker can ever have taken in
