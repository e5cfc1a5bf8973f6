"""A small model, three devices, and what the end-to-end tests ask of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from broker.bus import Bus
from schemas.codec import Array
from schemas.deployment import Deployment, Pin
from schemas.model import ModelCard
from schemas.plan import Plan
from schemas.topics import HUB_STATUS, PLAN_CURRENT
from services.planner.fleet import read_fleet
from stageline.demo.memory import forcing_budget_bytes
from stageline.deploying import deploy
from stageline.emulation.house import House

DEVICES = {"ant": 0.6, "bee": 0.6, "cat": 0.6}
LAYERS = 6
TIMEOUT_S = 60.0


def stack_of_convolutions() -> onnx.ModelProto:
    """Six convolutions with ReLU: small enough for tests, with a cut after each."""
    rng = np.random.default_rng(3)
    nodes, weights = [], []
    for layer in range(LAYERS):
        source = "x" if layer == 0 else f"h{layer}"
        weights.append(numpy_helper.from_array((rng.standard_normal((8, 8, 3, 3)) / 8).astype(np.float32), f"w{layer}"))
        nodes.append(helper.make_node("Conv", [source, f"w{layer}"], [f"c{layer}"], f"conv{layer}", pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"h{layer + 1}"], f"relu{layer}"))
    shape = [1, 8, 24, 24]
    graph = helper.make_graph(
        nodes,
        "stack",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"h{LAYERS}", TensorProto.FLOAT, shape)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def some_input(seed: int) -> Array:
    array: Array = np.random.default_rng(seed).standard_normal((1, 8, 24, 24)).astype(np.float32)
    return array


async def everybody(running: House, bus: Bus) -> None:
    """Wait until all devices can be planned with, whoever else says to be there."""
    async with asyncio.timeout(TIMEOUT_S):
        while not set((await read_fleet(bus)).usable) >= set(DEVICES):
            running.check()
            await asyncio.sleep(0.1)


async def planner_there(bus: Bus, *, after: str = "") -> str:
    """Wait until a planner says that it is there; returns its boot id, another than `after`.

    One that was started just now loads its modules first, for as long as this machine's other work makes that take:
    who deploys meanwhile is told after ten seconds that the planner is silent.
    """
    async with asyncio.timeout(TIMEOUT_S), bus.subscribe(HUB_STATUS) as states:
        async for state in states:
            if state.message.online and state.message.boot_id != after:
                return state.message.boot_id
    raise AssertionError("the bus was closed")


async def another_planner(running: House, bus: Bus, **environment: str) -> None:
    """Kill the planner, start another with these settings, and wait until it is there."""
    before = await planner_there(bus)
    running.kill_planner()
    running.start_planner(**environment)
    await planner_there(bus, after=before)


async def pipeline_over(bus: Bus, card: ModelCard, first: str, last: str) -> int:
    """Deploy so that the first block is on one device and the last on another; returns the generation."""
    blocks = len(card.blocks)
    wish = Deployment(
        deployment="line",
        model=card.name,
        pins=(Pin(device=first, first=0, last=1), Pin(device=last, first=blocks - 1, last=blocks)),
        requested=time.time(),
    )
    return (await deploy(bus, wish, timeout_s=TIMEOUT_S)).generation


async def pipeline_by_memory(bus: Bus, card: ModelCard) -> Plan:
    """Deploy so that no device has the memory for all blocks but any two have: nothing is pinned to any of them."""
    limit = forcing_budget_bytes(card, 2)
    wish = Deployment(
        deployment="line", model=card.name, memory_limit_bytes=dict.fromkeys(DEVICES, limit), requested=time.time()
    )
    await deploy(bus, wish, timeout_s=TIMEOUT_S)
    return await served(bus)


async def served(bus: Bus) -> Plan:
    """The plan that submitters follow now."""
    (kept,) = await bus.snapshot(PLAN_CURRENT, deployment="line")
    return kept.message


async def replanned(bus: Bus, beyond: int, *, without: str) -> Plan:
    """The plan that is served once that device is not in it any more: all may be answered before it is made, and
    reviews may have made another of that generation's before.
    """
    return await _served_once(bus, lambda plan: plan.generation > beyond and without not in plan.devices)


async def replicas(bus: Bus, card: ModelCard) -> int:
    """Deploy for throughput; returns the generation once all devices serve it: a busy machine may make one of them
    seem lost for a moment.
    """
    wish = Deployment(deployment="line", model=card.name, objective="throughput", requested=time.time())
    first = (await deploy(bus, wish, timeout_s=TIMEOUT_S)).generation
    plan = await _served_once(bus, lambda plan: plan.generation >= first and set(plan.devices) == set(DEVICES))
    return plan.generation


async def _served_once(bus: Bus, true: Callable[[Plan], bool]) -> Plan:
    async with asyncio.timeout(TIMEOUT_S), bus.subscribe(PLAN_CURRENT, deployment="line") as plans:
        async for kept in plans:
            if true(kept.message):
                return kept.message
    raise AssertionError("the bus was closed")
