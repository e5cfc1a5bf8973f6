"""A request in bands is sent to all of their devices at once; how many of them listen is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import numpy as np
import pytest
from made_up_plans import made_up_plan

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from broker.errors import BusError, PublishRefusedError, TooLargeError
from schemas.model import ModelCard
from schemas.plan import Band, Plan, Route, SideBySide, Stage
from schemas.topics import MODEL_CARD, PLAN_CURRENT, STAGE
from stageline.client import Client
from stageline.patience import Patience
from stageline.receipts import RequestFailedError
from stageline.sending import Send
from stageline.wire import Reached, _reached, send_request

BANDS = (Band(device="ant", takes=(0, 5), gives=(0, 4)), Band(device="bee", takes=(3, 8), gives=(4, 8)))
PICTURE = np.arange(96, dtype=np.float32).reshape(1, 3, 8, 4)


@pytest.fixture
def card(make_card: Callable[..., ModelCard]) -> ModelCard:
    return make_card(shape=PICTURE.shape)


@pytest.fixture
def plan(card: ModelCard) -> Plan:
    shared = SideBySide(last=1, bands=BANDS)
    route = Route(side_by_side=shared, stages=(Stage(device="cat", first=1, last=2),))
    return made_up_plan((route,), deployment="d", model=card.name, card_sha=card.sha256)


@pytest.mark.parametrize("listening", [(), ("r0b1",), ("r0b0", "r0b1")])
async def test_it_is_told_how_many_of_its_bands_somebody_listened_for(
    broker: EmbeddedBroker, root: str, card: ModelCard, plan: Plan, listening: tuple[str, ...]
) -> None:
    send = Send("q1", 2, plan, 0, 5000.0)
    async with Bus(broker.url, name="laptop", root=root) as bus, AsyncExitStack() as stack:
        frames = [
            await stack.enter_async_context(bus.frames(STAGE, deployment="d", stage=stage)) for stage in listening
        ]
        reached = await send_request(bus, send, {"x": PICTURE}, card=card, submitter="laptop", budget_ms=5000.0)
        assert reached == Reached(2, len(listening))
        assert (reached.fully, reached.partly) == (len(listening) == 2, len(listening) == 1)
        for stage, deliveries in zip(listening, frames, strict=True):
            async with asyncio.timeout(10):
                frame = (await anext(deliveries)).frame
            first, last = BANDS[frame.header.band].takes
            assert (frame.header.attempt, frame.header.bands, f"r0b{frame.header.band}") == (2, 2, stage)
            np.testing.assert_array_equal(frame.arrays()["x"], PICTURE[:, :, first:last])


@pytest.mark.parametrize("away", [BusError("away"), BusError("still away")])
def test_a_band_that_the_broker_did_not_take_matters_only_where_it_took_another(away: BusError) -> None:
    assert _reached("q1", [True, away]) == Reached(2, 1)
    with pytest.raises(BusError, match="away"):
        _reached("q1", [False, away])


@pytest.mark.parametrize("error", [TooLargeError("a", 2, 1), PublishRefusedError("a", 0x87), ValueError("a bug")])
def test_what_no_broker_will_ever_take_is_said_whatever_became_of_the_other_bands(error: Exception) -> None:
    with pytest.raises(type(error)):
        _reached("q1", [True, error])


async def test_with_one_band_unheard_all_are_sent_again_under_the_next_attempt_and_that_is_counted(
    broker: EmbeddedBroker, root: str, card: ModelCard, plan: Plan
) -> None:
    three = Patience(max_attempts=3)
    async with (
        Bus(broker.url, name="ant", root=root) as bus,
        bus.frames(STAGE, deployment="d", stage="r0b0") as frames,
        Client(broker.url, deployment="d", root=root, deadline_s=10.0, patience=three) as client,
        asyncio.timeout(20),
    ):
        await bus.publish(MODEL_CARD, card, model=card.name)
        await bus.publish(PLAN_CURRENT, plan, deployment="d")
        with pytest.raises(RequestFailedError, match="no answer after 3 attempts") as failed:
            await client.submit(PICTURE)
        assert [(await anext(frames)).frame.header.attempt for _ in range(3)] == [0, 1, 2]
        assert (failed.value.reason, failed.value.sent) == ("no-answer", 3)
        assert (client.audit.resent, client.audit.failed, client.audit.lost) == (2, 1, 0)
