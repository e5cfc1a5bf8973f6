"""The small decisions inside the service, as values."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest

from schemas.device import DeviceInfo, LinkMeasure, Power, PowerModel, Profile, Telemetry
from schemas.stages import HeldStage, StagesHeld, StageState
from services.planner import deployments
from services.planner.device import Device
from services.planner.events import Event, Improved, Tick, Wanted
from services.planner.ground import facts_of
from services.planner.measuring import awaited
from services.planner.patience import Patience
from services.planner.rollout_state import Rollout, Step
from services.planner.usable import NoDeviceError
from services.planner.wording import clip, left_out_text

SHA = "a" * 64
PROFILE = Profile(
    device="pi", boot_id="w", model="net", card_sha=SHA, backend="onnxruntime", threads=1, block_ms=(1.0,) * 4,
    stage_overhead_ms=0.3, frame_ms=0.2, frame_ms_per_mb=0.5, rounds=1, capacity_cores=1.0,
)  # fmt: skip


def device(*stages: HeldStage) -> Device:
    power = PowerModel(idle_w=1, busy_w=3, method="modelled", source="made up")
    link = LinkMeasure(rtt_ms=1, up_mbps=100, down_mbps=100, probe_bytes=1 << 18, age_s=0)
    return Device(
        "pi",
        info=DeviceInfo(
            device="pi", boot_id="m", hostname="pi", machine="made up", architecture="none", cores=1,
            capacity_cores=1.0, memory_bytes=1 << 31, power=power,
        ),
        telemetry=Telemetry(
            device="pi", boot_id="m", sequence=1, unix_time=0, load=0, capacity_cores=1.0, memory_free_bytes=1 << 30,
            memory_bytes=1 << 31, link=link, power=Power(watts=1, method="modelled", source="made up"),
        ),
        worker=StagesHeld(
            device="pi", boot_id="w", online=True, memory_budget_bytes=10_000, max_packet_bytes=1 << 20, stages=stages
        ),
    )  # fmt: skip


def held(deployment: str, first: int, last: int, state: StageState = "ready", *, generation: int = 1) -> HeldStage:
    return HeldStage(
        deployment=deployment, generation=generation, stage="r0s0", model="net", card_sha=SHA, first=first, last=last,
        state=state, memory_bytes=1000,
    )  # fmt: skip


def test_stages_of_other_deployments_keep_their_memory_and_shared_ones_count_once() -> None:
    busy = device(
        held("cats", 0, 4),
        held("dogs", 0, 2),
        held("dogs", 0, 2, generation=2),
        held("birds", 1, 3, "loading"),
        held("fish", 0, 1, "draining"),
        held("mice", 0, 1, "failed"),
    )
    facts = facts_of(busy, PROFILE, "cats")
    assert facts.memory_budget_bytes == 8000
    assert (facts.max_packet_bytes, facts.stage_overhead_ms, facts.link.rtt_ms) == (1 << 20, 0.3, 1)


def test_a_device_that_is_not_fully_known_has_no_facts() -> None:
    with pytest.raises(NoDeviceError, match="no worker has joined"):
        facts_of(Device("pi"), PROFILE, "cats")


def test_questions_that_nobody_will_answer_any_more_are_forgotten() -> None:
    assert awaited({"pi": 10.0, "nano": 20.0}, now_s=40.0, within_s=30.0) == {"nano": 20.0}


async def test_ticks_do_not_pile_up_while_nobody_works_through_them(monkeypatch: pytest.MonkeyPatch) -> None:
    worked_through: list[Event] = []
    everything = asyncio.Event()

    def advance(rollout: Rollout, event: Event, **_: object) -> Step:
        worked_through.append(event)
        if event == Improved("last"):
            everything.set()
        return rollout, ()

    monkeypatch.setattr(deployments, "advance", advance)
    waiting = deployments.Deployments(Mock(), Mock(), Patience())
    waiting.wanted("cats", None)
    for _ in range(1000):
        waiting.tick()
    waiting.improved("last")
    running = asyncio.create_task(waiting.run())
    async with asyncio.timeout(15):
        await everything.wait()
        assert worked_through == [Wanted(None), Tick(), Improved("last")]
        everything.clear()
        waiting.tick()
        waiting.improved("last")
        await everything.wait()
    assert worked_through[3:] == [Tick(), Improved("last")]
    running.cancel()
    await asyncio.wait([running])


def test_who_was_left_out_reads_well() -> None:
    assert left_out_text({}) == ""
    assert left_out_text({"a": "excluded", "b": "slow"}) == "Left out: a (excluded); b (slow)."


def test_long_texts_fit_the_message() -> None:
    assert clip("short") == "short"
    assert len(clip("x" * 9999)) == 4096
