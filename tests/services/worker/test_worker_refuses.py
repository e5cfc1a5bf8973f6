"""What a worker as a process cannot serve is refused, each alone, with what to do about it; and it goes on serving."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from schemas.codec import Array
from schemas.frame import Frame, encode_frame
from schemas.model import Cut, ModelCard, TensorSpec
from schemas.stages import Timing
from schemas.topics import DEVICE_TIMING


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
