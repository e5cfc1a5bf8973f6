"""Rows side by side on real workers over a real broker: right answers, whatever is lost, doubled or forged."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from models.rows.legal import deepest
from models.rows.needed import rows_needed
from models.rows.shares import bands
from models.runtime import StageRunner, load_stage
from schemas.codec import Array
from schemas.frame import encode_frame
from schemas.frame_header import FrameHeader, StageTrace
from schemas.plan import Band, Plan, Route, SideBySide, Stage
from schemas.stages import Timing
from schemas.topics import DEVICE_TIMING, STAGE
from stageline.client import Client

LAST = 2
"""Of three convolutions, two are shared."""
TIMEOUT_S = 60.0


def picture(seed: int) -> Array:
    made: Array = np.random.default_rng(seed).standard_normal((1, 8, 56, 56)).astype(np.float32)
    return made


def shared_plan(lab: Any, devices: Sequence[str], weights: Sequence[float], generation: int = 1) -> Plan:
    """The slow model's first convolutions in bands on `devices`, the rest on the first of them."""
    card = lab.hub.library.card("slow")
    chain = deepest(card, lab.hub.library.blobs.read(card.graph.sha256)).chain(LAST)
    given = [rows for rows in bands(chain.height, weights) if rows is not None]
    shared = SideBySide(
        last=LAST,
        bands=tuple(
            Band(device=device, takes=rows_needed(chain, rows), gives=rows)
            for device, rows in zip(devices, given, strict=True)
        ),
    )
    rest = Stage(device=devices[0], first=LAST, last=len(card.blocks))
    return Plan(
        deployment="cats", generation=generation, model=card.name, card_sha=card.sha256, objective="latency",
        policy="exact", routes=(Route(side_by_side=shared, stages=(rest,), window=4),),
    )  # fmt: skip


@pytest.fixture
def reference(lab: Any) -> Iterator[StageRunner]:
    """The unsplit model."""
    card = lab.hub.library.card("slow")
    whole = load_stage(card, lab.hub.library.blobs, 0, len(card.blocks))
    yield whole
    whole.close()


async def at_rest(lab: Any, device: str, reason: str) -> Timing:
    """The device's first report that counts that reason and tells of no frame under way: the broker may have to
    acknowledge the last answer yet.
    """
    async with asyncio.timeout(TIMEOUT_S), lab.hub.bus.subscribe(DEVICE_TIMING, device=device) as reports:
        async for report in reports:
            if report.message.rejected.get(reason) and report.message.queue_depth == 0:
                return report.message
    raise AssertionError("the bus was closed")


async def test_three_devices_share_the_rows_exactly_and_one_that_is_killed_with_its_band_costs_no_answer(
    lab: Any, reference: StageRunner
) -> None:
    workers = {device: lab.start(device) for device in ("ant", "bee", "cat")}
    plan = shared_plan(lab, ("ant", "bee", "cat"), (3, 2, 1))
    await lab.hub.roll_out(plan)
    inputs = [picture(seed) for seed in range(24)]
    answered = 0
    async with Client(lab.url, deployment="cats", root=lab.root, deadline_s=TIMEOUT_S) as client:
        async for result in client.submit_many(inputs, in_order=False, at_once=8):
            assert result.answer is not None, f"request {result.index}: {result.error}"
            whole = reference.run({"x": inputs[result.index]})
            np.testing.assert_array_equal(result.answer.output, whole["y"])
            answered += 1
            if answered <= 6:
                receipt = result.answer.receipt
                assert [trace.device for trace in receipt.stages] == ["ant", "bee", "cat", "ant"]
                blocks = [(0, LAST)] * 3 + [(LAST, plan.routes[0].stages[-1].last)]
                assert [(trace.first, trace.last) for trace in receipt.stages] == blocks
                assert receipt.bands == 3
                assert receipt.route == f"r0: {plan.routes[0]}"
            if answered == 6:
                assert await asyncio.to_thread(workers["cat"].stop, signal.SIGKILL) == -signal.SIGKILL
                # As the planner would, once the broker tells of the worker's end.
                await lab.hub.roll_out(shared_plan(lab, ("ant", "bee"), (1, 1), generation=2))
        audit = client.audit
    assert (answered, audit.answered, audit.lost, audit.failed, audit.open) == (24, 24, 0, 0, 0)


class Forger:
    """Sends frames straight to a stage, as whoever may publish there can."""

    def __init__(self, lab: Any, plan: Plan) -> None:
        self._lab = lab
        self._plan = plan

    def header(self, request: str, **changes: object) -> FrameHeader:
        bands = self._plan.routes[0].side_by_side
        assert bands is not None
        trace = StageTrace(
            device="forger", first=0, last=LAST, wait_ms=0, compute_ms=0, codec_ms=0, bytes_in=0, bytes_out=0
        )
        base = FrameHeader(
            kind="work", request=request, submitter=self._lab.submitter.name, deployment="cats",
            generation=self._plan.generation, budget_ms=TIMEOUT_S * 1000, trace=(trace,), bands=len(bands.bands),
        )  # fmt: skip
        return base.model_copy(update=changes)

    async def send(self, header: FrameHeader, rows: int, *, stage: str = "r0s0", device: str = "ant") -> None:
        tensor = np.zeros((1, 64, rows, 56), np.float32)
        (spec,) = self._lab.hub.library.card("slow").cuts[LAST].tensors
        assert await self._lab.submitter.bus.send_frame(
            STAGE, encode_frame(header, {spec.name: tensor}), expiry_s=int(TIMEOUT_S), correlation=header.request,
            deployment="cats", generation=self._plan.generation, device=device, stage=stage,
        )  # fmt: skip


async def test_bands_that_contradict_the_plan_are_refused_and_incomplete_ones_hold_nobody_up(
    lab: Any, reference: StageRunner
) -> None:
    for device in ("ant", "bee"):
        lab.start(device, timing_period_s="0.2")
    plan = shared_plan(lab, ("ant", "bee"), (1, 1))
    await lab.hub.roll_out(plan)
    forger = Forger(lab, plan)
    refused = {
        "which joins 2 bands": forger.header("no-such-band", band=2),
        "after 2 stages": forger.header("two-traces", trace=forger.header("x").trace * 2),
        "of route 1": forger.header("other-route", route=1),
    }
    for says, header in refused.items():
        await forger.send(header, 28)
        answer = await lab.submitter.answer(header.request)
        assert answer.header.fault is not None
        assert answer.header.fault.code == "bad-frame"
        assert says in answer.header.fault.detail
    await forger.send(forger.header("wrong-rows"), 27)
    fault = (await lab.submitter.answer("wrong-rows")).header.fault
    assert fault is not None
    assert "1x64x28x56" in fault.detail
    # Twice as many incomplete requests as are kept, each far more than the connection's receive maximum at a time.
    for number in range(128):
        await forger.send(forger.header(f"half-{number}"), 28)
    await forger.send(forger.header("half-0"), 28)
    async with Client(lab.url, deployment="cats", root=lab.root, deadline_s=TIMEOUT_S) as client:
        answer = await client.submit(picture(1))
        np.testing.assert_array_equal(answer.output, reference.run({"x": picture(1)})["y"])
    told = await at_rest(lab, "ant", "band-twice")
    assert told.rejected["band-crowded-out"] >= 64


async def test_a_plan_with_rows_that_the_model_does_not_have_is_refused_with_the_reason(lab: Any) -> None:
    for device in ("ant", "bee"):
        lab.start(device)
    plan = shared_plan(lab, ("ant", "bee"), (1, 1))
    route = plan.routes[0]
    assert route.side_by_side is not None
    first, second = route.side_by_side.bands
    beyond = second.model_copy(update={"gives": (28, 57), "takes": (26, 56)})
    wrong = route.side_by_side.model_copy(update={"bands": (first, beyond)})
    await lab.hub.next(plan.model_copy(update={"routes": (route.model_copy(update={"side_by_side": wrong}),)}))
    for device in ("ant", "bee"):
        held = await lab.hub.held(device, lambda held: any(one.state == "failed" for one in held.stages))
        failed = [one.error for one in held.stages if one.state == "failed"]
        assert all("rows" in error for error in failed), failed
