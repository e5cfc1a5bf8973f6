"""The planner shares rows among real devices where that is quicker, and a device that dies costs no answer."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import onnx
import pytest
from end_to_end.small_line import DEVICES, TIMEOUT_S, everybody, replanned, served
from onnx import TensorProto, helper, numpy_helper

from broker.bus import Bus
from models.importer import import_model
from models.library import Library
from models.runtime import StageRunner
from schemas.codec import Array
from schemas.deployment import Deployment
from schemas.device import Profile
from schemas.model import ModelCard
from schemas.topics import DEVICE_PROFILE, DEVICE_STAGES, PLAN_DECISION
from stageline.client import Client
from stageline.deploying import deploy
from stageline.emulation.house import House

REQUESTS = 12
SIZE = 96
CHANNELS = 32


def wide_convolutions() -> onnx.ModelProto:
    """Much work on many rows, then little data: made to be shared."""
    rng = np.random.default_rng(4)
    nodes, weights = [], []
    for layer, (channels, stride) in enumerate([(8, 1), (CHANNELS, 1), (CHANNELS, 1), (CHANNELS, 4), (CHANNELS, 1)]):
        values = rng.standard_normal((CHANNELS, channels, 3, 3)) / np.sqrt(9 * channels)
        weights.append(numpy_helper.from_array(values.astype(np.float32), f"w{layer}"))
        source = "x" if layer == 0 else f"h{layer}"
        how = {"pads": [1, 1, 1, 1], "strides": [stride, stride]}
        nodes.append(helper.make_node("Conv", [source, f"w{layer}"], [f"c{layer}"], f"conv{layer}", **how))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"h{layer + 1}"], f"relu{layer}"))
    nodes.append(helper.make_node("GlobalAveragePool", ["h5"], ["y"], "mean"))
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CHANNELS, 1, 1])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def picture(seed: int) -> Array:
    made: Array = np.random.default_rng(seed).standard_normal((1, 8, SIZE, SIZE)).astype(np.float32)
    return made


@pytest.fixture(scope="module")
def running(running: House) -> House:
    """The house, with plans that stay as they were made."""
    running.kill_planner()
    running.start_planner(STAGELINE_ADAPT="0")
    return running


async def say_what_it_takes(bus: Bus, card: ModelCard) -> None:
    """Profiles of devices that need 300 ms for the convolutions: which plan is best must not depend on whatever else
    this machine does."""
    macs = [block.macs for block in card.blocks]
    for found in await bus.snapshot(DEVICE_STAGES):
        worker = found.message
        profile = Profile(
            device=worker.device, boot_id=worker.boot_id, model=card.name, card_sha=card.sha256,
            backend=worker.backend, threads=worker.threads, block_ms=tuple(300 * one / sum(macs) for one in macs),
            frame_ms=0.5, frame_ms_per_mb=0.5, rounds=1, capacity_cores=DEVICES[worker.device],
        )  # fmt: skip
        await bus.publish(DEVICE_PROFILE, profile, device=worker.device, model=card.name)


@pytest.fixture(scope="module")
def card(running: House) -> ModelCard:
    path = running.folder / "wide.onnx"
    onnx.save(wide_convolutions(), path)
    return import_model(str(path), Library(running.library))


async def test_rows_are_shared_and_a_device_killed_with_its_band_costs_no_answer(
    running: House, bus: Bus, card: ModelCard, reference: StageRunner
) -> None:
    await say_what_it_takes(bus, card)
    await deploy(bus, Deployment(deployment="line", model=card.name, requested=time.time()), timeout_s=TIMEOUT_S)
    before = await served(bus)
    (decision,) = await bus.snapshot(PLAN_DECISION, deployment="line")
    (route,) = before.routes
    assert route.side_by_side is not None, decision.message.explanation
    assert "Rows side by side on" in decision.message.explanation
    behind = {stage.device for stage in route.stages}
    victim = next(band.device for band in route.side_by_side.bands if band.device not in behind)
    answered = 0
    async with Client(running.broker.url, deployment="line", deadline_s=TIMEOUT_S) as client:
        inputs = [picture(seed) for seed in range(REQUESTS)]
        async for result in client.submit_many(inputs, in_order=False):
            assert result.answer is not None, f"request {result.index}: {result.error}"
            whole = reference.run({card.inputs[0].name: inputs[result.index]})[card.outputs[0].name]
            np.testing.assert_allclose(result.answer.output, whole, rtol=1e-5, atol=1e-6)
            answered += 1
            if answered == REQUESTS // 3:
                await asyncio.to_thread(running.device(victim).kill, "worker")
        audit = client.audit
    assert (answered, audit.answered, audit.lost, audit.failed, audit.open) == (REQUESTS, REQUESTS, 0, 0, 0)
    await replanned(bus, before.generation, without=victim)
    running.device(victim).start()
    await everybody(running, bus)


async def test_without_the_wish_no_rows_are_shared(running: House, bus: Bus, card: ModelCard) -> None:
    wish = Deployment(deployment="line", model=card.name, side_by_side=False, requested=time.time())
    await deploy(bus, wish, timeout_s=TIMEOUT_S)
    assert all(route.side_by_side is None for route in (await served(bus)).routes)
