"""Nothing that a client can send ends a service or makes it grow without bound, and requests go on being answered."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import psutil
import pytest
from end_to_end.hostile import Hostile
from end_to_end.small_line import DEVICES, TIMEOUT_S, another_planner, everybody, pipeline_over, served, some_input

from broker.bus import Bus
from models.runtime import StageRunner
from schemas.model import ModelCard
from schemas.topics import DEVICE_TELEMETRY, DEVICE_TIMING, HUB_STATUS, Topic
from stageline.client import Client
from stageline.emulation.house import House

GROWTH_MB = 120.0
"""Of any one service, for all that is thrown at it; the payloads alone are many times that."""


class Sizes:
    """Resident memory of every service, MB: as it was, and the most since."""

    def __init__(self, running: House) -> None:
        self._services = {"planner": psutil.Process(running.planner.pid)}
        for device in running.devices:
            for service in ("monitor", "worker"):
                self._services[f"{device.name}'s {service}"] = psutil.Process(device.pid(service))
        self.before = self.now()
        self.most = dict(self.before)

    def now(self) -> dict[str, float]:
        """Raises psutil.NoSuchProcess when one has ended."""
        return {name: process.memory_info().rss / 1e6 for name, process in self._services.items()}

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        async def look() -> None:
            while True:
                self.most = {name: max(self.most[name], size) for name, size in self.now().items()}
                await asyncio.sleep(0.1)

        task = asyncio.create_task(look())
        try:
            yield
        finally:
            task.cancel()

    @property
    def grown(self) -> dict[str, float]:
        return {name: round(self.most[name] - self.before[name], 1) for name in self.before}


@contextlib.asynccontextmanager
async def answering(running: House, card: ModelCard, reference: StageRunner) -> AsyncIterator[Client]:
    """Requests all the while, one after the other, each compared with the unsplit model's answer."""
    async with Client(running.broker.url, deployment="line", deadline_s=TIMEOUT_S, name="honest") as client:
        inputs = [some_input(seed) for seed in range(8)]
        expected = [reference.run({card.inputs[0].name: one})[card.outputs[0].name] for one in inputs]
        enough = asyncio.Event()

        async def ask() -> None:
            turn = 0
            while not enough.is_set():
                answer = await client.submit(inputs[turn % 8])
                np.testing.assert_allclose(answer.output, expected[turn % 8], rtol=1e-4, atol=1e-5)
                turn += 1
                await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as asking:
            asking.create_task(ask())
            yield client
            enough.set()
        assert (client.audit.lost, client.audit.failed, client.audit.open) == (0, 0, 0)
        assert client.audit.answered > 20


async def answered_more(running: House, client: Client) -> None:
    """Two more answers, while everybody is still there."""
    async with asyncio.timeout(TIMEOUT_S):
        goal = client.audit.answered + 2
        while client.audit.answered < goal:
            running.check()
            await asyncio.sleep(0.05)


async def test_a_hostile_client_ends_nothing_and_requests_go_on(
    running: House, bus: Bus, card: ModelCard, reference: StageRunner, record_property: Callable[[str, object], None]
) -> None:
    generation = await pipeline_over(bus, card, "ant", "bee")
    plan = await served(bus)
    sizes = Sizes(running)
    async with (
        Bus(running.broker.url, name="hostile") as other,
        sizes.watched(),
        answering(running, card, reference) as client,
    ):
        hostile = Hostile(other, card=card, victims=tuple(DEVICES))
        for attack in (
            lambda: hostile.garbage_everywhere(generation, client.name),
            lambda: hostile.forge_frames(plan, client.name),
            hostile.blobs_never_asked_for,
            lambda: hostile.lie_about("ant", generation),
            lambda: hostile.lie_about_answers(generation),
            hostile.lying_cards,
            lambda: hostile.lying_plans(plan),
            hostile.lying_wishes,
            hostile.take_wishes_back,
            hostile.invent_devices,
            hostile.wipe_everything,
        ):
            await attack()
            await answered_more(running, client)
        refused = client.rejected
    await everybody(running, bus)
    running.check()
    record_property("grown_mb", sizes.grown)
    assert max(sizes.grown.values()) < GROWTH_MB, sizes.grown
    assert refused["kind"] or refused["deployment"] or refused["attempt"]
    await check_counters(bus)
    # Whoever starts now finds all that is still retained.
    await another_planner(running, bus)
    assert await pipeline_over(bus, card, "bee", "cat") > generation


async def check_counters(bus: Bus) -> None:
    """Everybody tells, by reason, what it could not use."""
    await tells(bus, HUB_STATUS, malformed=11, oversized=1, crowded=1, overwritten=1)
    await tells(bus, DEVICE_TELEMETRY, "ant", malformed=1)
    await tells(bus, DEVICE_TIMING, "ant", malformed=1, qos=1)


async def tells(bus: Bus, topic: Topic[Any], device: str = "", **least: int) -> None:
    """Until that many of each reason are told of; what was kept there may be of before the last attack."""
    counted: Counter[str] = Counter()
    where = {"device": device} if device else {}
    try:
        async with asyncio.timeout(TIMEOUT_S), bus.subscribe(topic, **where) as words:
            async for word in words:
                counted = Counter(word.message.rejected)
                if counted >= Counter(least):
                    return
    except TimeoutError:
        pytest.fail(f"{topic.template} tells of {counted}, and not of {least}")
