"""When a worker calls itself ready, and what it says while its stages load and when it is told to stop."""

import signal
from typing import Any


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
