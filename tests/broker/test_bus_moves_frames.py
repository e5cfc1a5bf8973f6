"""Frames: the data connection, acknowledging by hand, and what a flood of them may not do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import numpy as np
import pytest

from broker.bus import Bus, BusError
from broker.embedded import EmbeddedBroker
from schemas.deployment import HubStatus
from schemas.frame import encode_frame
from schemas.frame_header import FrameHeader
from schemas.topics import HUB_STATUS, STAGE

pytestmark = pytest.mark.timeout(30)
WHERE: dict[str, str] = {"deployment": "d", "generation": "1", "device": "pi", "stage": "r0s0"}
WORK = FrameHeader(kind="work", request="q", submitter="s", deployment="d", generation=1, budget_ms=1000)
MakeFrame = Callable[[str], bytes]
EXPIRY_S = 60
"""No test takes so long: the broker drops what has waited for that."""


async def send(bus: Bus, payload: bytes, **where: str) -> bool:
    return await bus.send_frame(STAGE, payload, expiry_s=EXPIRY_S, correlation="q", **{**WHERE, **where})  # type: ignore[arg-type]


async def test_a_frame_arrives_with_its_arrays_address_and_remaining_life(
    here: Bus, there: Bus, frame: MakeFrame
) -> None:
    async with there.frames(STAGE, **WHERE) as frames:
        assert await send(here, frame("q7"))
        delivery = await anext(frames)
        delivery.ack()
    assert delivery.frame.header.request == "q7"
    np.testing.assert_array_equal(delivery.frame.arrays()["x"].ravel(), np.arange(12, dtype=np.float32))
    assert delivery.parameters == WHERE
    assert delivery.expiry_s == EXPIRY_S


@pytest.mark.parametrize("nbytes", [1, 60_000, 65_536, 70_000, 3_000_000])
async def test_frames_of_all_sizes_arrive_whole(here: Bus, there: Bus, nbytes: int) -> None:
    data = np.random.default_rng(nbytes).integers(0, 256, nbytes, dtype=np.uint8).tobytes()
    async with there.subscribe_bytes("raw") as messages:
        for _ in range(3):
            await here.publish_bytes("raw", data)
        for _ in range(3):
            assert bytes((await anext(messages)).payload) == data


async def test_sending_where_nobody_listens_is_noticed(here: Bus, frame: MakeFrame) -> None:
    assert not await send(here, frame("q"), device="nobody")


@pytest.mark.parametrize("most", [1, 2, 4])
async def test_frames_that_are_not_acknowledged_hold_the_next_ones_back(
    broker: EmbeddedBroker, root: str, here: Bus, frame: MakeFrame, most: int
) -> None:
    """Large ones, so that no two share a packet; mosquitto 2.0.11 by itself would send all it has after a few."""
    payload = encode_frame(WORK, {"x": np.zeros(50_000, np.float32)})
    async with Bus(broker.url, name="w", root=root, receive_maximum=most) as w, w.frames(STAGE, **WHERE) as frames:
        for _ in range(20):
            assert await send(here, payload)
        held = [await anext(frames) for _ in range(most)]
        left = 20 - most
        while left:
            waiting = asyncio.ensure_future(anext(frames))
            # Whatever the broker has already written to the worker comes before the answer to this.
            await w.publish_bytes("fence", b"")
            assert not waiting.done()
            while len(held) > most // 2:
                oldest = held.pop(0)
                oldest.ack()
                oldest.ack()
            held.append(await waiting)
            held += [await anext(frames) for _ in range(min(left, most - most // 2) - 1)]
            left = max(0, left - (most - most // 2))


async def test_a_new_subscription_is_not_held_up_by_the_backlog_of_another(
    broker: EmbeddedBroker, root: str, here: Bus, frame: MakeFrame
) -> None:
    """As when a plan replaces another whose stage is overloaded."""
    payload = encode_frame(WORK, {"x": np.zeros(50_000, np.float32)})
    async with (
        Bus(broker.url, name="w", root=root, receive_maximum=2) as worker,
        worker.frames(STAGE, **WHERE) as old,
    ):
        for _ in range(20):
            assert await send(here, payload)
        held = [await anext(old) for _ in range(2)]
        async with asyncio.timeout(10), worker.frames(STAGE, **{**WHERE, "generation": "2"}) as new:
            assert await send(here, frame("new"), generation="2")
            assert (await anext(new)).frame.header.request == "new"
            for delivery in held:
                delivery.ack()
            for _ in range(18):
                (await anext(old)).ack()


async def test_leaving_the_bus_ends_who_still_waits_for_frames(broker: EmbeddedBroker, root: str) -> None:
    async with AsyncExitStack() as stack:
        async with Bus(broker.url, name="w", root=root) as worker:
            frames = await stack.enter_async_context(worker.frames(STAGE, **WHERE))
        with pytest.raises(BusError, match="the bus is closed"):
            await anext(frames)


async def test_leaving_acknowledges_what_is_left_so_that_others_are_not_held_up(
    broker: EmbeddedBroker, root: str, here: Bus, frame: MakeFrame
) -> None:
    async with Bus(broker.url, name="w", root=root, receive_maximum=1) as worker:
        async with worker.frames(STAGE, **WHERE) as frames:
            for number in range(3):
                await send(here, frame(f"q{number}"))
            await anext(frames)
        async with worker.frames(STAGE, deployment="d", generation=2) as frames:
            await send(here, frame("next"), generation="2")
            async with asyncio.timeout(10):
                assert (await anext(frames)).frame.header.request == "next"


async def test_a_malformed_frame_is_counted_and_acknowledged_and_the_next_one_comes(
    broker: EmbeddedBroker, root: str, here: Bus, frame: MakeFrame
) -> None:
    async with (
        Bus(broker.url, name="w", root=root, receive_maximum=1) as worker,
        worker.frames(STAGE, **WHERE) as frames,
    ):
        for payload in (b"", b"not a frame", frame("q")[:-5], frame("q") + b"x", frame("good")):
            await send(here, payload)
        delivery = await anext(frames)
        assert delivery.frame.header.request == "good"
        assert worker.rejected == {"truncated": 2, "malformed": 2}


async def test_a_flood_of_frames_delays_no_control_message(broker: EmbeddedBroker, root: str, here: Bus) -> None:
    """The worker takes no frame while 40 MB wait for it; a plan still gets through before any of them is taken."""
    payload = bytes(4_000_000)
    async with (
        Bus(broker.url, name="w", root=root, receive_maximum=2) as worker,
        worker.frames(STAGE, **WHERE),
        worker.subscribe(HUB_STATUS) as messages,
    ):
        flood = [asyncio.create_task(send(here, payload)) for _ in range(10)]
        await here.publish(HUB_STATUS, HubStatus(online=True, boot_id="x"))
        async with asyncio.timeout(10):
            assert (await anext(messages)).message.online
        assert all(await asyncio.gather(*flood))


async def test_many_senders_at_once_lose_nothing(here: Bus, there: Bus, frame: MakeFrame) -> None:
    """More at once than the broker's window, on one connection."""
    async with there.frames(STAGE, **WHERE) as frames:
        sending = asyncio.gather(*(send(here, frame(f"q{number}")) for number in range(200)))
        seen = set()
        for _ in range(200):
            delivery = await anext(frames)
            seen.add(delivery.frame.header.request)
            delivery.ack()
        assert all(await sending)
    assert seen == {f"q{number}" for number in range(200)}
