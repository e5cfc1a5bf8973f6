"""Typed messages between two clients on a real broker."""

from __future__ import annotations

import asyncio

import pytest

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from schemas.base import InvalidNameError
from schemas.deployment import Deployment, HubStatus
from schemas.device import Claim, DeviceStatus
from schemas.topics import DEPLOYMENT, DEVICE_CLAIM, DEVICE_STATUS, HUB_STATUS

pytestmark = pytest.mark.timeout(30)
UP = HubStatus(online=True, boot_id="x")


def status(device: str, boot_id: str = "b") -> DeviceStatus:
    return DeviceStatus(device=device, boot_id=boot_id, online=True)


async def test_a_message_arrives_typed_with_its_address(here: Bus, there: Bus) -> None:
    async with there.subscribe(DEVICE_STATUS) as messages:
        await here.publish(DEVICE_STATUS, status("pi4"), device="pi4")
        delivery = await anext(messages)
    assert delivery.message == status("pi4")
    assert delivery.parameters == {"device": "pi4"}
    assert delivery.address == "device/pi4/status"
    assert not delivery.retained


async def test_whoever_comes_late_gets_the_state_and_sees_that_it_is_from_before(here: Bus, there: Bus) -> None:
    await here.publish(HUB_STATUS, UP)
    async with there.subscribe(HUB_STATUS) as messages:
        first = await anext(messages)
        assert (first.message, first.retained) == (UP, True)
        await here.publish(HUB_STATUS, HubStatus(online=False, boot_id="x"))
        assert not (await anext(messages)).retained


async def test_flow_topics_are_not_retained(here: Bus, there: Bus) -> None:
    claim = Claim(device="pi4", boot_id="b", role="worker", hostname="h")
    assert not await here.publish(DEVICE_CLAIM, claim, device="pi4")
    assert await there.snapshot(DEVICE_CLAIM) == []


async def test_publishing_tells_whether_anybody_heard(here: Bus, there: Bus) -> None:
    claim = Claim(device="pi4", boot_id="b", role="worker", hostname="h")
    async with there.subscribe(DEVICE_CLAIM, device="pi4"):
        assert await here.publish(DEVICE_CLAIM, claim, device="pi4")
    assert not await here.publish(DEVICE_CLAIM, claim.model_copy(update={"device": "pi5"}), device="pi5")


async def test_two_subscribers_to_one_topic_both_get_every_message(here: Bus) -> None:
    async with here.subscribe(HUB_STATUS) as first, here.subscribe(HUB_STATUS) as second:
        await here.publish(HUB_STATUS, UP)
        assert (await anext(first)).message == (await anext(second)).message == UP


async def test_a_second_subscriber_gets_the_state_and_the_first_does_not_get_it_again(here: Bus) -> None:
    await here.publish(HUB_STATUS, UP)
    async with here.subscribe(HUB_STATUS) as first:
        await anext(first)
        async with here.subscribe(HUB_STATUS) as second:
            assert (await anext(second)).retained
            down = HubStatus(online=False, boot_id="x")
            await here.publish(HUB_STATUS, down)
            assert (await anext(first)).message == (await anext(second)).message == down
        await here.publish(HUB_STATUS, UP)
        assert (await anext(first)).message == UP


async def test_overlapping_filters_give_each_subscriber_each_message_once(here: Bus, there: Bus) -> None:
    async with there.subscribe(DEVICE_STATUS) as everybody, there.subscribe(DEVICE_STATUS, device="a") as only_a:
        for boot_id in ("b1", "b2", "b3"):
            await here.publish(DEVICE_STATUS, status("a", boot_id), device="a")
        for stream in (everybody, only_a):
            assert [(await anext(stream)).message.boot_id for _ in range(3)] == ["b1", "b2", "b3"]
        await here.publish(DEVICE_STATUS, status("z"), device="z")
        assert (await anext(everybody)).message.device == "z"


async def test_a_subscriber_that_has_left_gets_nothing_and_the_broker_is_told(here: Bus, there: Bus) -> None:
    async with there.subscribe(DEVICE_CLAIM):
        pass
    claim = Claim(device="pi4", boot_id="b", role="worker", hostname="h")
    assert not await here.publish(DEVICE_CLAIM, claim, device="pi4")


async def test_a_cancelled_wait_loses_no_message(here: Bus, there: Bus) -> None:
    async with there.subscribe(HUB_STATUS) as messages:
        waiting = asyncio.ensure_future(anext(messages))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await here.publish(HUB_STATUS, UP)
        assert (await anext(messages)).message == UP


async def test_clearing_removes_the_state_and_only_watchers_see_it_go(here: Bus, there: Bus) -> None:
    wish = Deployment(deployment="d", model="m")
    async with there.watch(DEPLOYMENT) as changes, there.subscribe(DEPLOYMENT) as messages:
        await here.publish(DEPLOYMENT, wish, deployment="d")
        await here.clear(DEPLOYMENT, deployment="d")
        await here.publish(DEPLOYMENT, wish, deployment="d")
        seen = [await anext(changes) for _ in range(3)]
        assert [change.message for change in seen] == [wish, None, wish]
        assert seen[1].parameters == {"deployment": "d"}
        assert [(await anext(messages)).message for _ in range(2)] == [wish, wish]
    await here.clear(DEPLOYMENT, deployment="d")
    assert await there.snapshot(DEPLOYMENT) == []


async def test_a_snapshot_has_all_that_is_retained_and_ends(here: Bus, there: Bus) -> None:
    assert await there.snapshot(DEVICE_STATUS) == []
    names = [f"pi{number}" for number in range(150)]
    for name in names:
        await here.publish(DEVICE_STATUS, status(name), device=name)
    found = await there.snapshot(DEVICE_STATUS)
    assert {delivery.parameters["device"] for delivery in found} == set(names)
    assert all(delivery.retained for delivery in found)
    (one,) = await there.snapshot(DEVICE_STATUS, device="pi7")
    assert one.message == status("pi7")


async def test_bytes_go_out_and_come_back_with_the_time_to_the_brokers_answer(here: Bus) -> None:
    async with here.subscribe_bytes("device/here/echo") as echoes:
        assert await here.publish_bytes("device/here/echo", b"token" * 1000) > 0
        assert await here.publish_bytes("device/here/echo", b"two", qos=0) == 0
        first, second = await anext(echoes), await anext(echoes)
    assert (first.address, bytes(first.payload)) == ("device/here/echo", b"token" * 1000)
    assert bytes(second.payload) == b"two"
    assert first.received_at <= second.received_at


async def test_a_bulk_connection_is_another_client_on_the_same_root(here: Bus, there: Bus) -> None:
    async with here.bulk() as bulk, there.subscribe(HUB_STATUS) as messages:
        await bulk.publish(HUB_STATUS, UP)
        assert (await anext(messages)).message == UP
        assert bulk.rejected is here.rejected
    assert here.connected


async def test_names_that_cannot_be_topic_levels_are_refused_before_anything_is_sent(
    broker: EmbeddedBroker, here: Bus
) -> None:
    with pytest.raises(InvalidNameError, match="letters, digits"):
        await here.publish(DEVICE_STATUS, status("pi4"), device="pi/4")
    with pytest.raises(InvalidNameError, match="'p i'"):
        Bus(broker.url, name="p i")


async def test_a_bus_that_was_left_says_so_to_those_who_still_wait(broker: EmbeddedBroker, root: str) -> None:
    bus = Bus(broker.url, name="a", root=root)
    with pytest.raises(RuntimeError, match="async with"):
        await bus.publish(HUB_STATUS, UP)
    async with bus:
        subscription = bus.subscribe(HUB_STATUS)
        messages = await subscription.__aenter__()
    with pytest.raises(Exception, match="the bus is closed"):
        await anext(messages)
    await subscription.__aexit__(None, None, None)
