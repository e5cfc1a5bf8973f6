"""How a worker starts, is told apart, stops and dies: as a process, under signals."""

import json
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import psutil

from schemas.device import Command, Profile
from schemas.frame import encode_frame
from schemas.topics import DEVICE_COMMAND, DEVICE_PROFILE, DEVICE_STAGES


async def test_a_worker_that_is_killed_leaves_its_will(lab: Any) -> None:
    worker = lab.start("pi4")
    born = await lab.hub.held("pi4", lambda held: held.online)
    worker.stop(signal.SIGKILL)
    gone = await lab.hub.held("pi4", lambda held: not held.online)
    assert (gone.boot_id, gone.reason, gone.stages) == (born.boot_id, "vanished", ())


async def test_sigterm_says_offline_and_exits_0(lab: Any) -> None:
    worker = lab.start("pi4")
    plan = lab.plan("pi4[0:)")
    await lab.hub.roll_out(plan)
    worker.process.send_signal(signal.SIGTERM)
    gone = await lab.hub.held("pi4", lambda held: not held.online)
    assert (gone.reason, gone.stages) == ("stopped", ())
    assert await worker.ended() == 0
    retained = await lab.hub.bus.snapshot(DEVICE_STAGES, device="pi4")
    assert [delivery.message for delivery in retained] == [gone]


async def test_a_worker_that_is_stopping_still_answers_what_reaches_it(lab: Any) -> None:
    worker = lab.start("pi4")
    plan, other = lab.plan("pi4[0:)"), lab.plan("pi4[0:)", model="slow").model_copy(update={"deployment": "dogs"})
    for one in (plan, other):
        await lab.hub.roll_out(one)
    # It goes once it is at rest, which these keep it from while the next request is on its way.
    under_way = [lab.submitter.header(other) for _ in range(4)]
    for header in under_way:
        frame = encode_frame(header, {"x": np.zeros((1, 8, 56, 56), np.float32)})
        assert await lab.submitter.send(other, frame, request=header.request)
    worker.process.send_signal(signal.SIGTERM)
    await lab.hub.held("pi4", lambda held: not held.online)
    answer = await lab.submitter.ask(plan, lab.input())
    np.testing.assert_allclose(answer.arrays()["y"], lab.whole(lab.input()), rtol=1e-4, atol=1e-5)
    for header in under_way:
        assert (await lab.submitter.answer(header.request)).header.kind == "answer"
    assert await worker.ended() == 0


async def test_a_reborn_worker_takes_its_name_and_its_stages_again_without_fetching(lab: Any) -> None:
    worker = lab.start("pi4")
    plan = lab.plan("pi4[0:)")
    await lab.hub.roll_out(plan)
    fetched = lab.hub.requested.total()
    first = lab.hub.states["pi4"].boot_id
    worker.stop(signal.SIGKILL)
    await lab.hub.held("pi4", lambda held: not held.online)
    lab.start("pi4")
    await lab.hub.held("pi4", lambda held: held.boot_id != first and held.online)
    await lab.hub.ready("pi4", plan)
    assert lab.hub.requested.total() == fetched
    assert (await lab.submitter.ask(plan, lab.input())).header.kind == "answer"


async def test_a_second_worker_of_the_same_name_is_told_so_and_the_first_goes_on(lab: Any) -> None:
    lab.start("pi4")
    plan = lab.plan("pi4[0:)")
    await lab.hub.roll_out(plan)
    second = lab.start("pi4")
    assert await second.ended() == 2
    assert "another worker named 'pi4' is already on this broker" in second.log()
    assert (await lab.submitter.ask(plan, lab.input())).header.kind == "answer"
    assert lab.hub.states["pi4"].online


async def test_a_broker_that_cannot_be_reached_ends_in_one_line_and_exit_code_2(lab: Any) -> None:
    lab.url = "mqtt://127.0.0.1:9"
    worker = lab.start("nano", connect_timeout_s="0.2")
    assert await worker.ended() == 2
    last = json.loads(worker.log().splitlines()[-1])
    assert "no broker at mqtt://127.0.0.1:9" in last["message"]


async def test_a_bad_setting_and_an_illegal_name_end_in_one_line_and_exit_code_2(lab: Any) -> None:
    worker = lab.start("pi4", memory_budget_mb="-3")
    assert await worker.ended() == 2
    assert "STAGELINE_MEMORY_BUDGET_MB" in worker.log()
    worker = lab.start("pi+4")
    assert await worker.ended() == 2
    assert "'pi+4' cannot name a device" in worker.log()


async def test_a_profile_is_measured_once_and_given_again_when_asked_again(lab: Any) -> None:
    lab.start("pi4", profile_budget_s="0.2")
    await lab.hub.held("pi4", lambda held: held.online)
    async with lab.hub.bus.subscribe(DEVICE_PROFILE, device="pi4", model="dense") as profiles:
        told: list[Profile] = []
        for _ in range(2):  # in turn: two that come together are answered by one
            await lab.hub.bus.publish(DEVICE_COMMAND, Command(kind="profile", model="dense"), device="pi4")
            told.append((await anext(profiles)).message)
    first, second = told
    assert first == second
    assert first.card_sha == lab.card.sha256
    assert len(first.block_ms) == len(lab.card.blocks)
    assert min(first.block_ms) >= 0
    assert sum(first.block_ms) > 0
    assert 0 < first.frame_ms < 100
    assert first.frame_ms_per_mb < 100
    # No weight was moved for it.
    assert set(lab.hub.requested) == {lab.card.graph.sha256}


async def test_frames_are_served_while_a_profile_is_measured(lab: Any) -> None:
    lab.start("pi4", profile_budget_s="0.5")
    plan = lab.plan("pi4[0:)")
    await lab.hub.roll_out(plan)
    async with lab.hub.bus.subscribe(DEVICE_PROFILE, device="pi4", model="dense") as profiles:
        await lab.hub.bus.publish(DEVICE_COMMAND, Command(kind="profile", model="dense"), device="pi4")
        for seed in range(5):
            assert (await lab.submitter.ask(plan, lab.input(seed))).header.kind == "answer"
        assert (await anext(profiles)).message.device == "pi4"


async def test_a_profile_of_a_model_whose_graph_cannot_be_had_does_not_end_the_worker(lab: Any) -> None:
    worker = lab.start("pi4", profile_budget_s="0.2")
    await lab.hub.held("pi4", lambda held: held.online)
    lab.hub.refuse[lab.card.graph.sha256] = "not in the library"
    async with lab.hub.bus.subscribe(DEVICE_PROFILE, device="pi4", model="dense") as profiles:
        await lab.hub.bus.publish(DEVICE_COMMAND, Command(kind="profile", model="dense"), device="pi4")
        await lab.hub.asked(lab.card.graph.sha256)
        lab.hub.refuse.clear()
        await lab.hub.bus.publish(DEVICE_COMMAND, Command(kind="profile", model="dense"), device="pi4")
        assert (await anext(profiles)).message.rounds >= 1
    assert "no profile of dense: the hub cannot send blob" in worker.log()


def test_a_worker_imports_no_torch_unless_it_is_the_backend() -> None:
    code = "import sys, services.worker.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_worker_that_has_loaded_a_stage_still_has_no_torch(lab: Any) -> None:
    worker = lab.start("pi4")
    await lab.hub.roll_out(lab.plan("pi4[0:)"))
    maps = {mapping.path for mapping in psutil.Process(worker.process.pid).memory_maps()}
    assert any("onnxruntime" in path for path in maps)
    assert not any("libtorch" in path for path in maps)


def test_help_teaches_the_flags_and_their_variables() -> None:
    command = [sys.executable, "-m", "services.worker.main", "--help"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "--memory-budget-mb" in text
    assert "STAGELINE_MEMORY_BUDGET_MB" in text
