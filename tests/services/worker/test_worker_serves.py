"""A worker as a process serves real frames over a real broker: right answers, refusals, swaps."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiomqtt
import numpy as np
import pytest

from broker.address import BrokerAddress
from schemas.codec import Array
from schemas.device import DeviceInfo, PowerModel
from schemas.frame import Frame, encode_frame
from schemas.model import Cut, ModelCard, TensorSpec
from schemas.plan import Plan
from schemas.stages import Timing
from schemas.topics import ANSWER, DEVICE_INFO, DEVICE_TIMING, STAGE

Plans = Callable[..., Plan]


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


async def test_bad_frames_of_every_kind_are_answered_or_counted_and_the_next_good_one_is_served(lab: Any) -> None:
    lab.start("pi4", timing_period_s="0.2")
    plan = lab.plan("pi4[0:)")
    await lab.hub.roll_out(plan)
    x = lab.input()

    async def fault_of(tensors: dict[str, Array], **changes: object) -> tuple[str, str]:
        header = lab.submitter.header(plan, **changes)
        await lab.submitter.send(plan, encode_frame(header, tensors))
        answer: Frame = await lab.submitter.answer(header.request)
        assert answer.header.kind == "error"
        assert answer.header.fault is not None
        assert answer.header.fault.device == "pi4"
        assert (await lab.submitter.ask(plan, x)).header.kind == "answer"
        return answer.header.fault.code, answer.header.fault.detail

    code, says = await fault_of({"x": x.reshape(64, 1)})
    assert (code, says.endswith("takes x float32[1x64]; given: x float32[64x1]")) == ("bad-input", True)
    assert (await fault_of({"x": x.astype(np.float64)}))[0] == "bad-input"
    assert (await fault_of({"picture": x}))[0] == "bad-input"
    assert (await fault_of({}))[0] == "bad-input"
    assert (await fault_of({"x": x}, generation=99))[0] == "wrong-generation"
    assert (await fault_of({"x": x}, route=3))[0] == "bad-frame"
    assert (await fault_of({"x": x}, kind="answer"))[0] == "bad-frame"
    assert (await fault_of({"x": x}, budget_ms=0.0))[0] == "expired"

    good = encode_frame(lab.submitter.header(plan), {"x": x})
    async with lab.hub.bus.subscribe(DEVICE_TIMING, device="pi4") as timings:
        for payload in (b"\x00garbage", good[: len(good) // 2], good + b"more", b""):
            await lab.submitter.send(plan, payload)
        assert (await lab.submitter.ask(plan, x)).header.kind == "answer"
        timing: Timing = await _timing(timings, lambda t: sum(t.rejected.values()) >= 11)
    assert timing.rejected["bad-input"] == 4
    assert timing.rejected["wrong-generation"] == 1
    assert timing.rejected["expired"] == 1
    assert timing.rejected["truncated"] >= 1
    assert timing.rejected["malformed"] >= 1


async def _timing(timings: AsyncIterator[Any], wanted: Callable[[Timing], bool]) -> Timing:
    async with asyncio.timeout(60):
        async for delivery in timings:
            if wanted(delivery.message):
                return delivery.message  # type: ignore[no-any-return]
    raise AssertionError


async def test_a_result_that_nobody_takes_in_is_reported_to_the_submitter(lab: Any) -> None:
    lab.start("pi4")
    plan = lab.plan("pi4[0:1) -> gone[1:)")
    await lab.hub.next(plan)
    await lab.hub.ready("pi4", plan)
    answer = await lab.submitter.ask(plan, lab.input())
    assert answer.header.fault is not None
    assert answer.header.fault.code == "draining"
    assert "gone does not listen" in answer.header.fault.detail


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


async def test_a_stage_beyond_the_memory_budget_is_refused_with_need_and_have(lab: Any) -> None:
    lab.start("pi4", memory_budget_mb="5")
    plan = lab.plan("pi4[0:)")
    await lab.hub.next(plan)
    failed = await lab.hub.stage("pi4", plan, "failed")
    assert "this worker gives 5.0 MB to stages" in failed.error
    assert "STAGELINE_MEMORY_BUDGET_MB" in failed.error
    assert lab.hub.requested.total() == 0


async def test_the_graph_is_cut_where_the_plan_says_or_the_stage_fails_and_the_worker_goes_on(lab: Any) -> None:
    lab.start("pi4")
    beyond = lab.plan(f"pi4[0:{len(lab.card.blocks) + 3})")
    await lab.hub.next(beyond)
    failed = await lab.hub.stage("pi4", beyond, "failed")
    assert f"of dense, which has {len(lab.card.blocks)}" in failed.error
    plan = lab.plan("pi4[0:)", generation=2)
    await lab.hub.roll_out(plan)
    assert (await lab.submitter.ask(plan, lab.input())).header.kind == "answer"


async def test_a_worker_with_the_torch_backend_gives_the_same_answers(lab: Any) -> None:
    lab.start("orin", backend="torch")
    plan = lab.plan("orin[0:)")
    await lab.hub.roll_out(plan)
    assert lab.hub.states["orin"].backend == "torch"
    answer = await lab.submitter.ask(plan, lab.input())
    np.testing.assert_allclose(answer.arrays()["y"], lab.whole(lab.input()), rtol=1e-4, atol=1e-5)


async def test_an_input_that_the_model_cannot_compute_fails_alone(lab: Any) -> None:
    lab.start("pi4")
    plan = lab.plan("pi4[0:)", model="lookup")
    await lab.hub.roll_out(plan)
    for number, kind in ((2, "answer"), (99, "error"), (3, "answer")):
        back = await lab.submitter.ask(plan, np.array([number]), name="number")
        assert back.header.kind == kind
    fault = lab.submitter.answers["req-2"][0].header.fault
    assert fault.code == "stage-failed"
    assert "99" in fault.detail
    assert back.arrays()["row"].tolist() == [[0.0, 0.0, 0.0, 1.0]]


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


async def test_a_result_that_the_broker_does_not_pass_is_an_error_that_says_how_to_mend_it(own_broker_lab: Any) -> None:
    async with own_broker_lab(max_packet_size="4096") as (_, lab):
        lab.start("pi4")
        lab.start("nano")
        plan = lab.plan("pi4[0:1) -> nano[1:)")
        await lab.hub.roll_out(plan)
        back = await lab.submitter.ask(plan, lab.input())
        assert back.header.fault.code == "too-large"
        assert "max_packet_size" in back.header.fault.detail
        whole = lab.plan("pi4[0:)", generation=2)
        await lab.hub.roll_out(whole)
        assert (await lab.submitter.ask(whole, lab.input())).header.kind == "answer"


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


def lying(card: ModelCard, *, block: dict[str, int] | None = None, cut: TensorSpec | None = None) -> ModelCard:
    """That card, with other figures for its first block, or another tensor before it."""
    blocks = (card.blocks[0].model_copy(update=block or {}), *card.blocks[1:])
    cuts = (Cut(tensors=(cut,)), *card.cuts[1:]) if cut else card.cuts
    return card.model_copy(update={"name": "lying", "blocks": blocks, "cuts": cuts})


@pytest.mark.parametrize(
    "lie",
    [
        {"block": {"weight_bytes": 2**46, "peak_activation_bytes": 2**46}},
        {"block": {"first_node": 0, "last_node": 2**53}},
        {"cut": TensorSpec(name="x", dtype="float32", shape=(2**31,) * 8)},
    ],
)
async def test_a_card_that_asks_for_more_than_any_machine_has_fails_one_stage(lab: Any, lie: dict[str, Any]) -> None:
    card = lying(lab.card, **lie)
    if "last_node" in lie.get("block", {}):
        card = card.model_copy(update={"blocks": card.blocks[:1], "cuts": (card.cuts[0], card.cuts[-1])})
    await lab.hub.card(card)
    plan = lab.plan("pi4[0:1)").model_copy(update={"model": "lying", "card_sha": card.sha256, "deployment": "dogs"})
    await lab.hub.next(plan)
    worker = lab.start("pi4")
    failed = await lab.hub.stage("pi4", plan, "failed")
    assert "raise STAGELINE_MEMORY_BUDGET_MB" in failed.error
    good = lab.plan("pi4[0:)")
    await lab.hub.roll_out(good)
    assert (await lab.submitter.ask(good, lab.input())).header.kind == "answer"
    assert worker.process.poll() is None


async def test_a_plan_of_thousands_of_stages_on_one_device_is_refused_in_a_line(lab: Any) -> None:
    stages = " -> ".join(f"pi4[{block}:{block + 1})" for block in range(6))
    flood = lab.plan(stages, generation=9)
    flood = flood.model_copy(update={"routes": flood.routes * 1024})
    await lab.hub.next(flood)
    worker = lab.start("pi4")
    failed = await lab.hub.stage("pi4", flood, "failed")
    assert "places 6144 stages on pi4, which takes 64" in failed.error
    assert len(lab.hub.states["pi4"].stages) == 1
    await lab.hub.remove("cats")
    plan = lab.plan("pi4[0:)", generation=10)
    await lab.hub.roll_out(plan)
    assert (await lab.submitter.ask(plan, lab.input())).header.kind == "answer"
    assert worker.log().count("6144") == 1
