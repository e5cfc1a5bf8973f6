"""Early exits through the whole house: answered early or at the end, every request once, whatever dies or changes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from end_to_end.small_line import DEVICES, TIMEOUT_S, everybody, replanned, served

from bench.exits.network import EASY, HARD, MIDDLING, THRESHOLD, bright_network, pictures
from broker.bus import Bus
from models.importer import import_model
from models.library import Library
from models.runtime import StageRunner, load_stage, stage_memory_bytes
from schemas.codec import Array
from schemas.deployment import Deployment
from schemas.model import ModelCard
from schemas.plan import Plan
from schemas.topics import PLAN_CURRENT
from stageline.client import Client
from stageline.deploying import deploy
from stageline.emulation.house import House
from stageline.receipts import Receipt

REQUESTS = 150


@pytest.fixture(scope="module")
def bright(running: House) -> ModelCard:
    path = running.folder / "bright.onnx"
    onnx.save(bright_network(layers=5, channels=8, size=16, exits={"exit1": 1, "exit2": 3}), path)
    return import_model(str(path), Library(running.library))


@pytest.fixture(scope="module")
def whole(running: House, bright: ModelCard) -> Iterator[StageRunner]:
    """The unsplit model, with its exits."""
    names = [one.name for one in bright.exits]
    runner = load_stage(bright, Library(running.library).blobs, 0, len(bright.blocks), exits=names)
    yield runner
    runner.close()


async def over_two_devices(bus: Bus, card: ModelCard, **wanted: object) -> Plan:
    """Deploy so that no device has the memory for all blocks but any two have."""
    blocks, names = len(card.blocks), [one.name for one in card.exits]

    def need(first: int, last: int) -> int:
        return stage_memory_bytes(card, first, last, names)

    two = min(max(need(0, cut), need(cut, blocks)) for cut in range(1, blocks))
    limits = dict.fromkeys(DEVICES, (two + need(0, blocks)) // 2)
    wish = Deployment(deployment="line", model=card.name, memory_limit_bytes=limits, requested=time.time(), **wanted)  # type: ignore[arg-type]
    await deploy(bus, wish, timeout_s=TIMEOUT_S)
    return await served(bus)


async def test_a_worker_killed_behind_an_exit_costs_no_answer_and_gives_none_twice(
    running: House, bus: Bus, bright: ModelCard, whole: StageRunner
) -> None:
    before = await over_two_devices(bus, bright)
    (route,) = before.routes
    assert len(route.stages) == 2
    assert before.exits[0].block < route.stages[0].last  # some leave before the other device
    victim = running.device(route.stages[1].device)
    kinds = (EASY, HARD, MIDDLING)
    inputs = [one for seed in range(REQUESTS // 3) for kind in kinds for one in pictures(kind, 1, size=16, seed=seed)]
    thresholds = {rule.name: rule.threshold for rule in before.exits}
    seen: Counter[str] = Counter()
    left: Counter[str] = Counter()
    async with Client(running.broker.url, deployment="line", deadline_s=TIMEOUT_S) as client:
        async for result in client.submit_many(inputs, in_order=False):
            assert result.answer is not None, f"request {result.index}: {result.error}"
            seen[result.answer.request] += 1
            expected = whole.run_until({"image": inputs[result.index]}, thresholds)
            left[result.answer.receipt.exit] += 1
            assert result.answer.receipt.exit == (expected.exit or "")
            np.testing.assert_allclose(result.answer.output, expected.outputs["logits"], rtol=1e-4, atol=1e-5)
            if seen.total() == REQUESTS // 4:
                await asyncio.to_thread(victim.kill, "worker")
    assert seen.total() == len(seen) == REQUESTS
    assert left == dict.fromkeys(("exit1", "exit2", ""), REQUESTS // 3)
    assert (client.audit.lost, client.audit.failed, client.audit.open) == (0, 0, 0)
    after = await replanned(bus, before.generation, without=victim.name)
    assert [rule.threshold for rule in after.exits] == [THRESHOLD, THRESHOLD]
    victim.start()
    await everybody(running, bus)


async def test_thresholds_change_while_requests_are_served(running: House, bus: Bus, bright: ModelCard) -> None:
    """Eight at a time, so that many of the old generation are under way as the new one comes: each keeps to its own."""
    thresholds: dict[int, float] = {}
    told: list[Receipt] = []
    news = asyncio.Condition()
    switched = asyncio.Event()

    async def learn_thresholds() -> None:
        async with bus.subscribe(PLAN_CURRENT, deployment="line") as plans:
            async for kept in plans:
                async with news:
                    thresholds[kept.message.generation] = kept.message.exits[0].threshold
                    news.notify_all()

    async def ask(client: Client, picture: Array) -> None:
        while not switched.is_set() or told[-1].generation < loose.generation:
            receipt = (await client.submit(picture)).receipt
            async with news:
                told.append(receipt)
                news.notify_all()

    strict = await over_two_devices(bus, bright, thresholds={"exit1": 0.99})
    learning = asyncio.create_task(learn_thresholds())
    async with Client(running.broker.url, deployment="line", deadline_s=TIMEOUT_S) as client:
        asking = [asyncio.create_task(ask(client, picture)) for picture in pictures(MIDDLING, 8, size=16)]
        async with asyncio.timeout(TIMEOUT_S), news:
            await news.wait_for(lambda: len(told) >= 3 * len(asking))
        loose = await over_two_devices(bus, bright, thresholds={"exit1": 0.5})
        switched.set()
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.gather(*asking)
    async with asyncio.timeout(TIMEOUT_S), news:
        await news.wait_for(lambda: {receipt.generation for receipt in told} <= thresholds.keys())
    learning.cancel()
    expected = {0.99: "exit2", 0.5: "exit1"}
    assert [receipt.exit for receipt in told] == [expected[thresholds[receipt.generation]] for receipt in told]
    assert {receipt.exit for receipt in told} == {"exit1", "exit2"}
    assert loose.generation > strict.generation
    assert [rule.threshold for rule in loose.exits] == [0.5, THRESHOLD]
    assert (client.audit.lost, client.audit.failed) == (0, 0)
