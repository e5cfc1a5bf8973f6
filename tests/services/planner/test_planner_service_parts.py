"""The small decisions inside the service, as values."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest

from schemas.device import DeviceInfo, LinkMeasure, Power, PowerModel, Profile, Telemetry
from schemas.plan import Plan, StagePrediction, parse_route
from schemas.stages import HeldStage, StagesHeld, StageState, StageTiming, Timing
from services.planner import deployments
from services.planner.accuracy import FRAMES_ENOUGH, Accuracy
from services.planner.cost import NoDeviceError
from services.planner.device import Device
from services.planner.events import Event, Improved, Tick, Wanted
from services.planner.ground import facts_of
from services.planner.measuring import awaited
from services.planner.rollout import Patience
from services.planner.rollout_state import Rollout, Step
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


def served(generation: int = 1) -> Plan:
    route = parse_route("pi[0:2) -> nano[2:4)").model_copy(
        update={"stage_predictions": tuple(StagePrediction(down_ms=1, compute_ms=ms, up_ms=1) for ms in (10.0, 20.0))}
    )
    return Plan(
        deployment="cats", generation=generation, model="net", card_sha=SHA, objective="latency", policy="exact",
        routes=(route,),
    )  # fmt: skip


def timing(frames: int, compute_ms: float, *, generation: int = 1, stage: str = "r0s1") -> Timing:
    one = StageTiming(
        deployment="cats", generation=generation, stage=stage, frames=frames, wait_ms=0, compute_ms=compute_ms,
        codec_ms=1.0, bytes_in=0, bytes_out=0,
    )  # fmt: skip
    return Timing(device="nano", boot_id="w", period_s=1, queue_depth=0, stages=(one,))


def test_a_prediction_is_compared_once_when_enough_frames_went_through() -> None:
    accuracy = Accuracy()
    serving = {"cats": served()}
    assert accuracy.observe(timing(FRAMES_ENOUGH - 1, 21.0), serving) == []
    (found,) = accuracy.observe(timing(5, 21.0), serving)
    assert str(found) == "cats g1 r0s1 on nano: 22.00 ms measured, 20.00 ms predicted (+10%)"
    assert accuracy.observe(timing(500, 50.0), serving) == []


def test_each_generation_is_compared_anew_and_strangers_are_ignored() -> None:
    accuracy = Accuracy()
    assert accuracy.observe(timing(100, 21.0), {}) == []
    assert accuracy.observe(timing(100, 21.0, generation=2), {"cats": served(1)}) == []
    assert accuracy.observe(timing(100, 21.0, stage="r7s0"), {"cats": served(1)}) == []
    assert len(accuracy.observe(timing(100, 21.0), {"cats": served(1)})) == 1
    assert len(accuracy.observe(timing(100, 21.0, generation=2), {"cats": served(2)})) == 1
