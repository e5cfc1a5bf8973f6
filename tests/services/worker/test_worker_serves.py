"""A worker as a process serves real frames over a real broker: right answers, swaps, shares."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import aiomqtt
import numpy as np
import pytest

from broker.address import BrokerAddress
from schemas.device import DeviceInfo, PowerModel
from schemas.frame import encode_frame
from schemas.topics import ANSWER, DEVICE_INFO, STAGE


async def test_the_whole_model_on_one_worker_answers_as_the_unsplit_model(lab: Any) -> None:
    lab.start("pi4")
    info = DeviceInfo(
        device="pi4", boot_id="b", hostname="pi4", machine="Pi 4", architecture="arm64", cores=4, capacity_cores=4.0,
        memory_bytes=4 << 30, power=PowerModel(idle_w=2.0, busy_w=6.0, method="modelled", source="table"),
    )  # fmt: skip
    await lab.hub.bus.publish(DEVICE_INFO, info, device="pi4")
    plan = lab.plan("pi4[0:)")
    await lab.hub.roll_out(plan)
    held = lab.hub.states["pi4"]
    assert held.online
    assert held.memory_budget_bytes > 0
    assert held.stages[0].memory_bytes > 2_000_000
    x = lab.input()
    answer = await lab.submitter.ask(plan, x)
    assert answer.header.kind == "answer"
    np.testing.assert_allclose(answer.arrays()["y"], lab.whole(x), rtol=1e-4, atol=1e-5)
    (trace,) = answer.header.trace
    assert (trace.device, trace.first, trace.last) == ("pi4", 0, len(lab.card.blocks))
    assert trace.compute_ms > 0
    assert (trace.energy_method, trace.energy_source[:8]) == ("modelled", "busy 6 W")
    assert trace.energy_j == pytest.approx(trace.compute_ms * 6e-3)


async def test_two_workers_in_a_row_equal_the_unsplit_model(lab: Any) -> None:
    for device in ("pi4", "nano"):
        lab.start(device)
    last = len(lab.card.blocks)
    plan = lab.plan("pi4[0:1) -> nano[1:)")
    await lab.hub.roll_out(plan)
    for seed in range(4):
        answer = await lab.submitter.ask(plan, lab.input(seed))
        np.testing.assert_allclose(answer.arrays()["y"], lab.whole(lab.input(seed)), rtol=1e-4, atol=1e-5)
    first, second = answer.header.trace
    assert (first.device, second.device) == ("pi4", "nano")
    assert first.bytes_out == second.bytes_in == lab.card.cuts[1].nbytes
    # Each fetched the blobs of its own blocks only.
    for device, blobs in (("pi4", lab.card.stage_blobs(0, 1)), ("nano", lab.card.stage_blobs(1, last))):
        assert {path.name for path in lab.cache(device).iterdir() if path.is_file()} == {
            blob.sha256 for blob in (lab.card.graph, *blobs)
        }


async def test_a_frame_on_its_way_through_the_line_says_where_its_answer_belongs(lab: Any) -> None:
    """In MQTT's own words, so that any tool can follow a request: response topic and correlation data."""
    lab.start("pi4")
    plan = lab.plan("pi4[0:1) -> listener[1:)")
    await lab.hub.next(plan)
    await lab.hub.ready("pi4", plan)
    broker = BrokerAddress.parse(lab.url)
    async with (
        asyncio.timeout(20),
        aiomqtt.Client(broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V5) as listener,
    ):
        await listener.subscribe(f"{lab.root}/{STAGE.filter(deployment='cats', device='listener')}", qos=1)
        header = lab.submitter.header(plan)
        await lab.submitter.send(plan, encode_frame(header, {"x": lab.input()}), request=header.request)
        properties = (await anext(listener.messages)).properties
    assert properties is not None
    assert properties.ResponseTopic == f"{lab.root}/{ANSWER.address(submitter=lab.submitter.name)}"
    assert properties.CorrelationData == header.request.encode()


async def test_a_swap_under_a_stream_of_frames_loses_nothing_and_the_old_plan_answers_until_the_new_one_is_there(
    lab: Any,
) -> None:
    for device in ("pi4", "nano"):
        lab.start(device, drain_s="1")
    old = lab.plan("pi4[0:1) -> nano[1:)")
    new = lab.plan("pi4[0:2) -> nano[2:)", generation=2)
    await lab.hub.roll_out(old)
    serving, stop, more = old, asyncio.Event(), asyncio.Event()
    answered: Counter[int] = Counter()

    async def stream(seed: int) -> None:
        x = lab.input(seed)
        expected = lab.whole(x)
        while not stop.is_set():
            answer = await lab.submitter.ask(serving, x)
            assert answer.header.kind == "answer", answer.header.fault
            np.testing.assert_allclose(answer.arrays()["y"], expected, rtol=1e-4, atol=1e-5)
            answered[answer.header.generation] += 1
            more.set()

    async def until(enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not enough():
                more.clear()
                await more.wait()

    async with asyncio.TaskGroup() as streams:
        for seed in range(3):
            streams.create_task(stream(seed))
        await until(lambda: answered[1] > 30)
        lab.hub.serving.clear()  # no blob comes, for as long as it takes
        blob = lab.card.stage_blobs(1, 2)[0].sha256
        asked = lab.hub.requested[blob]
        await lab.hub.next(new)
        await lab.hub.asked(blob, asked + 1)
        before = answered[1]
        await until(lambda: answered[1] > before + 30)
        lab.hub.serving.set()
        await asyncio.gather(*(lab.hub.ready(device, new) for device in new.devices))
        before = answered[1]
        await until(lambda: answered[1] > before + 30)
        await lab.hub.current(new)
        serving = new
        await until(lambda: answered[2] > 30)
        stop.set()
    assert all(len(frames) == 1 for frames in lab.submitter.answers.values())
    # The old generation goes when it has been quiet for a while.
    for device in ("pi4", "nano"):
        held = await lab.hub.held(device, lambda held: {stage.generation for stage in held.stages} == {2})
        assert [stage.state for stage in held.stages] == ["ready"]
    assert any(stage.state == "draining" for held in lab.hub.history for stage in held.stages)


async def test_the_same_slice_in_a_new_generation_is_ready_without_loading_anything(lab: Any) -> None:
    worker = lab.start("pi4", drain_s="60", drain_most_s="60")
    first = lab.plan("pi4[0:)")
    await lab.hub.roll_out(first)
    asked_for = lab.hub.requested.total()
    second = lab.plan("pi4[0:)", generation=2)
    await lab.hub.roll_out(second)
    assert lab.hub.requested.total() == asked_for
    assert (await lab.submitter.ask(second, lab.input())).header.kind == "answer"
    assert (await lab.submitter.ask(first, lab.input())).header.kind == "answer"  # still draining
    assert worker.process.poll() is None


async def test_a_deployment_that_is_removed_is_dropped(lab: Any) -> None:
    lab.start("pi4", drain_s="0.1")
    plan = lab.plan("pi4[0:)")
    await lab.hub.roll_out(plan)
    await lab.hub.remove(plan.deployment)
    await lab.hub.held("pi4", lambda held: held.stages == ())


async def test_a_worker_that_starts_after_the_plan_serves_it_too(lab: Any) -> None:
    plan = lab.plan("pi4[0:)")
    await lab.hub.current(plan)
    lab.start("pi4")
    await lab.hub.ready("pi4", plan)
    assert (await lab.submitter.ask(plan, lab.input())).header.kind == "answer"


async def test_a_worker_with_the_torch_backend_gives_the_same_answers(lab: Any) -> None:
    lab.start("orin", backend="torch")
    plan = lab.plan("orin[0:)")
    await lab.hub.roll_out(plan)
    assert lab.hub.states["orin"].backend == "torch"
    answer = await lab.submitter.ask(plan, lab.input())
    np.testing.assert_allclose(answer.arrays()["y"], lab.whole(lab.input()), rtol=1e-4, atol=1e-5)


async def test_two_deployments_of_one_model_share_its_memory(lab: Any) -> None:
    lab.start("pi4")
    cats = lab.plan("pi4[0:)")
    await lab.hub.roll_out(cats)
    asked_for = lab.hub.requested.total()
    dogs = cats.model_copy(update={"deployment": "dogs"})
    await lab.hub.roll_out(dogs)
    assert lab.hub.requested.total() == asked_for
    await lab.hub.remove("cats")
    assert (await lab.submitter.ask(dogs, lab.input())).header.kind == "answer"


async def test_two_deployments_that_both_want_all_of_a_worker_get_their_shares_of_it(lab: Any) -> None:
    lab.start("pi4")
    shares = {"cats": 3.0, "dogs": 1.0}
    plans = {
        name: lab.plan("pi4[0:)", model="slow").model_copy(update={"deployment": name, "weight": weight})
        for name, weight in shares.items()
    }
    for plan in plans.values():
        await lab.hub.roll_out(plan)
    picture = np.zeros((1, 8, 56, 56), np.float32)
    took_ms: dict[str, list[float]] = {name: [] for name in plans}
    enough = asyncio.Event()

    async def keep_asking(name: str) -> None:
        while not enough.is_set():
            answer = await lab.submitter.ask(plans[name], picture)
            assert answer.header.kind == "answer"
            (trace,) = answer.header.trace
            if sum(map(len, took_ms.values())) < 200:
                took_ms[name].append(trace.codec_ms + trace.compute_ms)
            else:
                enough.set()

    async with asyncio.TaskGroup() as asking:
        for name in plans:
            for _ in range(8):
                asking.create_task(keep_asking(name))
    # Time is shared, not turns: this machine's other work makes some of them long. One turn of each may be owed.
    had_ms = {name: sum(each) / shares[name] for name, each in took_ms.items()}
    turn_ms = {name: max(each) / shares[name] for name, each in took_ms.items()}
    assert abs(had_ms["cats"] - had_ms["dogs"]) <= sum(turn_ms.values()) + 0.25 * max(had_ms.values())


async def test_a_worker_outlives_its_broker_and_serves_on(own_broker_lab: Any) -> None:
    async with own_broker_lab() as (broker, lab):
        lab.start("pi4")
        plan = lab.plan("pi4[0:)")
        await lab.hub.roll_out(plan)
        before = lab.hub.states["pi4"].boot_id
        lab.hub.states.clear()
        broker.kill()
        broker.restart()
        held = await lab.hub.held("pi4", lambda held: any(stage.state == "ready" for stage in held.stages))
        assert held.boot_id == before
        assert (await lab.submitter.ask_again_until_answered(plan, lab.input())).header.kind == "answer"
