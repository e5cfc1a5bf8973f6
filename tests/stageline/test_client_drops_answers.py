"""Answers that the client drops, and counts: doubled ones, malformed ones, and those that nobody asked for."""

from __future__ import annotations

import numpy as np

from broker.delivery import FrameDelivery
from schemas.frame import encode_frame
from schemas.topics import ANSWER

X = np.arange(4, dtype=np.float32).reshape(1, 4)


async def test_doubled_answers_are_shown_once_and_counted(line, client_of) -> None:
    async def double(fake, delivery: FrameDelivery) -> None:
        await fake.answer(delivery)
        await fake.answer(delivery)

    line.behaviour = double
    await line.serve("a")
    async with client_of() as client:
        for _ in range(6):
            await client.submit(X)
        # Answers come in order: with the sixth here, the doubles of the first five were.
        assert client.audit.duplicates_dropped >= 5
        assert (client.audit.answered, client.audit.lost) == (6, 0)


async def test_malformed_answers_are_counted_and_dropped(line, client_of) -> None:
    async def garbled(fake, delivery: FrameDelivery) -> None:
        submitter = delivery.frame.header.submitter
        await fake.bus.send_frame(ANSWER, b"no frame", expiry_s=5, correlation="x", submitter=submitter)
        await fake.answer(delivery)

    line.behaviour = garbled
    await line.serve("a")
    async with client_of() as client:
        assert np.array_equal((await client.submit(X)).output, 2 * X)


async def test_answers_that_nobody_asked_for_or_that_lack_outputs_are_dropped(line, client_of) -> None:
    async def forged(fake, delivery: FrameDelivery) -> None:
        header = delivery.frame.header
        reply = header.model_copy(update={"kind": "answer", "tensors": ()})
        for update, outputs in (
            ({"request": "stranger"}, {"y": X}),
            ({"attempt": 7}, {"y": X}),
            ({}, {"z": X}),
        ):
            payload = encode_frame(reply.model_copy(update=update), outputs)
            await fake.bus.send_frame(ANSWER, payload, expiry_s=5, correlation="x", submitter=header.submitter)
        await fake.answer(delivery)

    line.behaviour = forged
    await line.serve("a")
    async with client_of() as client:
        assert np.array_equal((await client.submit(X)).output, 2 * X)
        assert client.rejected == {"attempt": 1, "outputs": 1}
        assert (client.audit.answered, client.audit.late_dropped, client.audit.lost) == (1, 1, 0)
