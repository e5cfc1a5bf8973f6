"""Real processes, a real broker, real kills: every accepted request gets its one right answer."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from end_to_end.small_line import (
    DEVICES,
    TIMEOUT_S,
    another_planner,
    everybody,
    pipeline_by_memory,
    pipeline_over,
    planner_there,
    replanned,
    replicas,
    some_input,
)

from broker.bus import Bus
from models.runtime import StageRunner
from schemas.deployment import Deployment
from schemas.learning import Learning
from schemas.model import ModelCard
from schemas.topics import PLAN_LEARNING
from stageline.client import Client
from stageline.deploying import deploy
from stageline.emulation.house import House

REQUESTS = 200


async def answered(
    running: House, card: ModelCard, reference: StageRunner, *, at: int, happens: Callable[[], None]
) -> Client:
    """Submit, let something happen after `at` answers, and compare every answer with the unsplit model's."""
    seen: Counter[str] = Counter()
    async with Client(running.broker.url, deployment="line", deadline_s=TIMEOUT_S) as client:
        inputs = [some_input(seed) for seed in range(REQUESTS)]
        expected = [reference.run({card.inputs[0].name: one})[card.outputs[0].name] for one in inputs]
        async for result in client.submit_many(inputs, in_order=False):
            assert result.answer is not None, f"request {result.index}: {result.error}"
            seen[result.answer.request] += 1
            np.testing.assert_allclose(result.answer.output, expected[result.index], rtol=1e-4, atol=1e-5)
            if seen.total() == at:
                await asyncio.to_thread(happens)
    assert seen.total() == len(seen) == REQUESTS
    assert (client.audit.lost, client.audit.failed, client.audit.open) == (0, 0, 0)
    return client


async def test_a_pipeline_over_two_devices_answers_like_the_unsplit_model(
    running: House, bus: Bus, card: ModelCard, reference: StageRunner
) -> None:
    await pipeline_over(bus, card, "ant", "bee")
    async with Client(running.broker.url, deployment="line") as client:
        answer = await client.submit(some_input(1))
    np.testing.assert_allclose(
        answer.output, reference.run({card.inputs[0].name: some_input(1)})[card.outputs[0].name], rtol=1e-4, atol=1e-5
    )
    devices = [stage.device for stage in answer.receipt.stages]
    assert devices[0] == "ant"
    assert devices[-1] == "bee"
    assert answer.receipt.energy_method in ("measured", "modelled")


async def test_a_worker_killed_among_replicas_costs_no_answer(
    running: House, bus: Bus, card: ModelCard, reference: StageRunner
) -> None:
    # Nothing is pinned to the one that dies, so the planner may do without it.
    generation = await replicas(bus, card)
    victim = running.device("cat")
    await answered(running, card, reference, at=50, happens=lambda: victim.kill("worker"))
    await replanned(bus, generation, without="cat")
    victim.start()
    await everybody(running, bus)


@pytest.mark.parametrize("place", [0, 1], ids=["first stage", "last stage"])
async def test_a_worker_killed_in_a_pipeline_costs_no_answer(
    running: House, bus: Bus, card: ModelCard, reference: StageRunner, place: int
) -> None:
    before = await pipeline_by_memory(bus, card)
    (route,) = before.routes
    assert len(route.stages) == len(before.devices) == 2
    victim = running.device(route.stages[place].device)
    await answered(running, card, reference, at=50, happens=lambda: victim.kill("worker"))
    after = await replanned(bus, before.generation, without=victim.name)
    assert set(after.devices) == set(DEVICES) - {victim.name}
    assert len(after.routes[0].stages) == 2
    victim.start()
    await everybody(running, bus)


async def test_a_planner_killed_and_restarted_disturbs_nothing(
    running: House, bus: Bus, card: ModelCard, reference: StageRunner
) -> None:
    generation = await replicas(bus, card)
    before = await planner_there(bus)
    await answered(running, card, reference, at=50, happens=running.restart_planner)
    await planner_there(bus, after=before)
    assert await replicas(bus, card) > generation


async def test_a_broker_killed_and_restarted_empty_costs_no_answer(
    running: House, bus: Bus, card: ModelCard, reference: StageRunner
) -> None:
    await replicas(bus, card)

    def power_cut() -> None:
        running.broker.kill()
        running.broker.restart()

    await answered(running, card, reference, at=50, happens=power_cut)
    await everybody(running, bus)


async def test_a_deployment_that_learns_serves_and_tells_what_it_learns(
    running: House, bus: Bus, card: ModelCard, reference: StageRunner
) -> None:
    await another_planner(running, bus, STAGELINE_LEARN_PERIOD_S="0.5")
    wish = Deployment(deployment="line", model=card.name, policy="bandit", requested=time.time())
    await deploy(bus, wish, timeout_s=TIMEOUT_S)
    expected = reference.run({card.inputs[0].name: some_input(1)})[card.outputs[0].name]

    async def judged() -> Learning:
        async with bus.subscribe(PLAN_LEARNING, deployment="line") as told:
            async for kept in told:
                if kept.message.decisions >= 2:
                    return kept.message
        raise AssertionError("the bus was closed")

    learning = asyncio.create_task(judged())
    async with asyncio.timeout(TIMEOUT_S), Client(running.broker.url, deployment="line") as client:
        while not learning.done():
            answer = await client.submit(some_input(1))
            np.testing.assert_allclose(answer.output, expected, rtol=1e-4, atol=1e-5)
    told = learning.result()
    assert (told.policy, told.tried[0].samples > 0, client.audit.failed) == ("bandit", True, 0)
    assert told.tried[0].measured > 0
