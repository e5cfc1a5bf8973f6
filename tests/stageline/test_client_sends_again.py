"""What is not answered the client sends again: over other routes, a newer plan, or a broker that is back."""

from __future__ import annotations

import asyncio

import numpy as np

from broker.delivery import FrameDelivery
from broker.embedded import EmbeddedBroker
from stageline.client import Client
from stageline.patience import Patience

X = np.arange(4, dtype=np.float32).reshape(1, 4)
IMPATIENT = Patience(floor_s=0.15, grace_s=0.15)


async def test_what_is_not_answered_is_sent_again_under_the_same_id(line, client_of) -> None:
    async def forgetful(fake, delivery: FrameDelivery) -> None:
        if delivery.frame.header.attempt:
            await fake.answer(delivery)

    line.behaviour = forgetful
    await line.serve("a", "b")
    async with client_of(patience=IMPATIENT) as client:
        answer = await client.submit(X)
        # Where the second answer takes long, too, there is a third attempt.
        assert answer.receipt.attempts == 1 + client.audit.resent >= 2
    first, second, *_ = line.seen
    assert {one.request for one in line.seen} == {first.request}
    assert first.route != second.route


async def test_requests_of_a_device_that_dies_go_to_the_others_at_once(line, client_of) -> None:
    async def dead_a(fake, delivery: FrameDelivery) -> None:
        if delivery.parameters["device"] != "a":
            await fake.answer(delivery)

    line.behaviour = dead_a
    await line.serve("a", "b", window=4)
    async with client_of(patience=Patience(floor_s=60)) as client:
        requests = [asyncio.create_task(client.submit(X)) for _ in range(8)]
        await line.until_seen(8)
        await line.die("a")
        await asyncio.gather(*requests)
        assert client.audit.resent == sum(header.route == 0 for header in line.seen) > 0


async def test_a_new_generation_takes_over_and_nothing_is_lost(line, client_of) -> None:
    stale: list[int] = []

    async def only_the_newest(fake, delivery: FrameDelivery) -> None:
        if delivery.frame.header.generation == 2:
            await fake.answer(delivery)
        else:
            stale.append(delivery.frame.header.attempt)

    line.behaviour = only_the_newest
    await line.serve("a", window=3)
    async with client_of(patience=Patience(floor_s=60, grace_s=0.1)) as client:
        requests = [asyncio.create_task(client.submit(X)) for _ in range(10)]
        await line.until_seen(3)
        await line.serve("b", generation=2)
        answers = await asyncio.gather(*requests)
        assert {one.receipt.generation for one in answers} == {2}
    assert len(stale) == 3


async def test_a_stage_that_fails_is_tried_elsewhere(line, client_of) -> None:
    async def a_is_broken(fake, delivery: FrameDelivery) -> None:
        if delivery.parameters["device"] == "a":
            await fake.fail(delivery, "stage-failed")
        else:
            await fake.answer(delivery)

    line.behaviour = a_is_broken
    await line.serve("a", "b")
    async with client_of() as client:
        answers = [await client.submit(X) for _ in range(4)]
    assert {one.receipt.route for one in answers} == {"r1: b[0:1)"}


async def test_nobody_listening_is_tried_again_until_somebody_does(line, client_of, running_line, broker, root) -> None:
    await line.serve("a", deployment="later")
    async with client_of(deployment="later") as client:
        request = asyncio.create_task(client.submit(X))
        await client.ready()
        async with running_line(broker, root, deployment="later") as second:
            answer = await request
            assert len(second.seen) == 1
    assert answer.receipt.attempts == 1


async def test_a_broker_that_dies_and_comes_back_loses_no_request(root: str, running_line) -> None:
    with EmbeddedBroker() as broker:
        async with running_line(broker, root) as line:
            await line.serve("a")
            async with Client(broker.url, deployment="d", root=root, patience=IMPATIENT, deadline_s=20) as client:
                await client.submit(X)
                await asyncio.to_thread(broker.kill)
                requests = [asyncio.create_task(client.submit(X * i)) for i in range(6)]
                await asyncio.to_thread(broker.restart)
                answers = await asyncio.gather(*requests)
                assert all(np.array_equal(one.output, 2 * X * i) for i, one in enumerate(answers))
                assert (client.audit.answered, client.audit.lost) == (7, 0)
