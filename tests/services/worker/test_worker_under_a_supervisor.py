"""When a worker calls itself ready, and what it says while its stages load and when it is told to stop."""

import asyncio
import signal
from typing import Any

import numpy as np

from schemas.frame import encode_frame
from schemas.topics import DEVICE_TIMING

STOPS_WITHIN_S = 20.0
"""What the unit allows."""


async def test_a_worker_is_ready_when_the_stages_of_plans_that_name_it_are(lab: Any, systemd: Any) -> None:
    plan = lab.plan("pi4[0:)")
    await lab.hub.current(plan)
    lab.hub.serving.clear()  # no blob comes
    worker = lab.start("pi4")
    await systemd.until(lambda message: "1 loading" in message.get("STATUS", "") and "EXTEND_TIMEOUT_USEC" in message)
    assert not systemd.said("READY")
    lab.hub.serving.set()
    assert "stages: 1 ready" in (await systemd.says("READY"))["STATUS"]
    assert (await lab.submitter.ask(plan, lab.input())).header.kind == "answer"
    worker.process.send_signal(signal.SIGTERM)
    await systemd.says("STOPPING")
    assert await worker.ended() == 0


async def test_a_stage_that_cannot_be_loaded_keeps_no_worker_from_being_ready(lab: Any, systemd: Any) -> None:
    await lab.hub.next(lab.plan("pi4[0:)"))
    lab.start("pi4", memory_budget_mb="5")
    assert "stages: 1 failed" in (await systemd.says("READY"))["STATUS"]


async def test_an_input_that_never_ends_is_told_to_all_and_keeps_the_worker_neither_from_listening_nor_from_leaving(
    lab: Any, systemd: Any
) -> None:
    worker = lab.start("pi4", timing_period_s="0.2")
    plan, other = lab.plan("pi4[0:)", model="count"), lab.plan("pi4[0:)").model_copy(update={"deployment": "dogs"})
    await lab.hub.roll_out(plan)
    await systemd.says("READY")
    assert (await lab.submitter.ask(plan, np.array([10]), name="number")).arrays()["sum"].tolist() == [10.0]
    poison = lab.submitter.header(plan)
    async with lab.hub.bus.subscribe(DEVICE_TIMING, device="pi4") as timings, asyncio.timeout(60):
        await lab.submitter.send(plan, encode_frame(poison, {"number": np.array([2**62])}), request=poison.request)
        async for delivery in timings:  # they go on
            if delivery.message.stuck_s > 1.0:
                break
        # A new plan is followed meanwhile.
        await lab.hub.roll_out(other)
        systemd.forget()
        await systemd.until(lambda message: "frames here, at one step for" in message.get("STATUS", ""))
        assert not systemd.said("WATCHDOG")
    worker.process.send_signal(signal.SIGTERM)
    await lab.hub.held("pi4", lambda held: not held.online)
    assert await asyncio.wait_for(worker.ended(), STOPS_WITHIN_S) == 0
    assert "leaving without it" in worker.log()
