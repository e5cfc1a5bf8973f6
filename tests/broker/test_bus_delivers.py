from __future__ import annotations

import asyncio

import numpy as np

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from schemas.deployment import HubStatus
from schemas.device import DeviceStatus
from schemas.frame import FrameHeader, encode_frame
from schemas.topics import DEVICE_STATUS, HUB_STATUS, STAGE


async def test_a_message_arrives_typed(broker: EmbeddedBroker, root: str) -> None:
    async with Bus(broker.url, name="a", root=root) as a, Bus(broker.url, name="b", root=root) as b:
        async with asyncio.timeout(10), b.subscribe(HUB_STATUS) as messages:
            await a.publish(HUB_STATUS, HubStatus(online=True, boot_id="x"))
            delivery = await anext(messages)
        assert delivery.message == HubStatus(online=True, boot_id="x")
        assert not delivery.retained
        async with asyncio.timeout(10), b.subscribe(HUB_STATUS) as messages:
            assert (await anext(messages)).retained


async def test_a_frame_arrives_with_its_arrays(broker: EmbeddedBroker, root: str) -> None:
    where = {"deployment": "d", "generation": 1, "device": "pi", "stage": "r0s0"}
    header = FrameHeader(kind="work", request="q1", submitter="s", deployment="d", generation=1, budget_ms=1000)
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    async with Bus(broker.url, name="a", root=root) as a, Bus(broker.url, name="b", root=root) as b:
        async with asyncio.timeout(10), b.frames(STAGE, **where) as frames:
            payload = encode_frame(header, {"x": array})
            assert await a.send_frame(STAGE, payload, expiry_s=5, correlation="q1", **where)
            delivery = await anext(frames)
            delivery.ack()
        np.testing.assert_array_equal(delivery.frame.arrays()["x"], array)
        assert delivery.expiry_s == 5
        assert not await a.send_frame(STAGE, payload, expiry_s=5, correlation="q1", **where | {"device": "nobody"})


async def test_a_snapshot_has_all_that_is_retained_and_ends(broker: EmbeddedBroker, root: str) -> None:
    async with Bus(broker.url, name="a", root=root) as bus, asyncio.timeout(20):
        assert await bus.snapshot(DEVICE_STATUS) == []
        for number in range(200):
            name = f"pi{number}"
            await bus.publish(DEVICE_STATUS, DeviceStatus(device=name, boot_id="x", online=True), device=name)
        found = await bus.snapshot(DEVICE_STATUS)
    assert {delivery.parameters["device"] for delivery in found} == {f"pi{number}" for number in range(200)}
