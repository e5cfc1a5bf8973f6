"""A broker that is killed and comes back empty: who was connected puts everything right again."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from broker.bus import BrokerUnreachableError, Bus
from broker.embedded import EmbeddedBroker
from schemas.deployment import HubStatus
from schemas.device import Claim, DeviceStatus
from schemas.topics import DEVICE_CLAIM, DEVICE_STATUS, HUB_STATUS, STAGE

pytestmark = pytest.mark.timeout(60)
UP = HubStatus(online=True, boot_id="x")
DOWN = HubStatus(online=False, boot_id="x")
WHERE = {"deployment": "d", "generation": "1", "device": "pi", "stage": "r0s0"}


@pytest.fixture
def own_broker() -> Iterator[EmbeddedBroker]:
    """One that may be killed."""
    with EmbeddedBroker() as running:
        yield running


async def gone(bus: Bus) -> None:
    """Until the bus has noticed that its broker is gone."""
    while bus.connected:  # noqa: ASYNC110 - the bus has no event for it, as nobody else needs one
        await asyncio.sleep(0.005)


async def test_subscriptions_go_on_and_what_was_published_meanwhile_arrives(own_broker: EmbeddedBroker) -> None:
    async with Bus(own_broker.url, name="a") as a, Bus(own_broker.url, name="b") as b, b.subscribe(HUB_STATUS) as seen:
        await a.publish(HUB_STATUS, UP)
        assert (await anext(seen)).message == UP
        own_broker.kill()
        await gone(a)
        pending = asyncio.create_task(a.publish(HUB_STATUS, DOWN))
        await asyncio.sleep(0)
        own_broker.restart()
        await pending
        async with asyncio.timeout(15):
            while (await anext(seen)).message != DOWN:
                pass


async def test_a_broker_that_forgot_everything_is_told_the_newest_state_again(own_broker: EmbeddedBroker) -> None:
    status = DeviceStatus(device="pi4", boot_id="b", online=True)
    back = asyncio.Event()

    async def restored() -> None:
        back.set()

    async with Bus(own_broker.url, name="a") as bus:
        bus.on_reconnect(restored)
        await bus.publish(HUB_STATUS, UP)
        await bus.publish(HUB_STATUS, DOWN)
        await bus.publish(DEVICE_STATUS, status, device="pi4")
        await bus.publish(DEVICE_STATUS, status.model_copy(update={"device": "gone"}), device="gone")
        await bus.clear(DEVICE_STATUS, device="gone")
        await bus.publish(DEVICE_STATUS, status.model_copy(update={"device": "once"}), device="once", remember=False)
        assert not back.is_set(), "the first connection is no reconnect"
        own_broker.kill()
        own_broker.restart()
        async with asyncio.timeout(15):
            await back.wait()
        assert [delivery.message for delivery in await bus.snapshot(HUB_STATUS)] == [DOWN]
        assert [delivery.message for delivery in await bus.snapshot(DEVICE_STATUS)] == [status]


async def test_a_clearing_that_waits_for_the_broker_is_not_undone(own_broker: EmbeddedBroker) -> None:
    async with Bus(own_broker.url, name="a") as bus:
        await bus.publish(HUB_STATUS, UP)
        own_broker.kill()
        await gone(bus)
        clearing = asyncio.create_task(bus.clear(HUB_STATUS))
        await asyncio.sleep(0)
        own_broker.restart()
        await clearing
        assert await bus.snapshot(HUB_STATUS) == []


async def test_an_older_state_that_had_to_wait_never_replaces_a_newer_one(own_broker: EmbeddedBroker) -> None:
    async with Bus(own_broker.url, name="a") as bus:
        own_broker.kill()
        await gone(bus)
        older = asyncio.create_task(bus.publish(HUB_STATUS, UP))
        await asyncio.sleep(0)
        newer = asyncio.create_task(bus.publish(HUB_STATUS, DOWN))
        await asyncio.sleep(0)
        own_broker.restart()
        await asyncio.gather(older, newer)
        assert [delivery.message for delivery in await bus.snapshot(HUB_STATUS)] == [DOWN]


async def test_callbacks_run_when_everything_is_back_and_may_publish(own_broker: EmbeddedBroker) -> None:
    calls: asyncio.Queue[bool] = asyncio.Queue()
    async with Bus(own_broker.url, name="a") as bus, bus.subscribe(HUB_STATUS):

        async def say_hello() -> None:
            calls.put_nowait(await bus.publish(HUB_STATUS, UP))

        bus.on_reconnect(say_hello)
        for _ in range(2):
            own_broker.kill()
            own_broker.restart()
            async with asyncio.timeout(15):
                assert await calls.get(), "the subscription was back before the callback ran"


async def test_a_callback_that_fails_ends_those_who_wait_on_the_bus(
    own_broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async with Bus(own_broker.url, name="a") as bus, bus.subscribe(HUB_STATUS) as seen:

        async def broken() -> None:
            raise ZeroDivisionError

        bus.on_reconnect(broken)
        with caplog.at_level(logging.CRITICAL, "broker.kept_connection"):
            own_broker.kill()
            own_broker.restart()
            with pytest.raises(ZeroDivisionError):
                await anext(seen)
        with pytest.raises(ZeroDivisionError):
            await bus.publish(HUB_STATUS, UP)


async def test_frames_flow_again_and_an_old_acknowledgement_does_no_harm(
    own_broker: EmbeddedBroker, frame: Callable[[str], bytes]
) -> None:
    async with (
        Bus(own_broker.url, name="a") as a,
        Bus(own_broker.url, name="w", receive_maximum=1) as w,
        w.frames(STAGE, **WHERE) as frames,
    ):

        async def until_heard(request: str) -> None:
            heard = False
            while not heard:
                heard = await a.send_frame(STAGE, frame(request), expiry_s=5, correlation=request, **WHERE)  # type: ignore[arg-type]
                await asyncio.sleep(0.01)

        async with asyncio.timeout(30):
            await until_heard("q0")
            old = await anext(frames)
            own_broker.kill()
            own_broker.restart()
            await until_heard("q1")
            assert (await anext(frames)).frame.header.request == "q1"
            waiting = asyncio.ensure_future(anext(frames))
            await until_heard("q2")
            old.ack()
            await w.publish(HUB_STATUS, UP)
            assert not waiting.done(), "the acknowledgement belonged to a connection that is gone"
            waiting.cancel()


async def test_publishing_without_a_broker_gives_up_in_time_and_says_what_to_do(own_broker: EmbeddedBroker) -> None:
    claim = Claim(device="pi4", boot_id="b", role="worker", hostname="h")
    async with Bus(own_broker.url, name="a") as bus:
        own_broker.kill()
        await gone(bus)
        with pytest.raises(BrokerUnreachableError, match=r"within 0\.3 s.*stageline doctor"):
            await bus.publish(DEVICE_CLAIM, claim, device="pi4", timeout_s=0.3)


async def test_a_broker_that_hangs_is_noticed_and_found_again(own_broker: EmbeddedBroker) -> None:
    async with Bus(own_broker.url, name="a", keepalive_s=1) as bus, bus.subscribe(HUB_STATUS) as seen:
        os.kill(own_broker.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(20):
                await gone(bus)
        finally:
            os.kill(own_broker.pid, signal.SIGCONT)
        async with asyncio.timeout(20):
            await bus.publish(HUB_STATUS, UP)
            assert (await anext(seen)).message == UP


async def test_no_broker_at_all_is_one_clear_error(own_broker: EmbeddedBroker) -> None:
    own_broker.kill()
    with pytest.raises(BrokerUnreachableError, match=r"no broker at mqtt://127\.0\.0\.1:\d+ within 0\.2 s"):
        async with Bus(own_broker.url, name="a", connect_timeout_s=0.2):
            pass


async def test_without_a_time_limit_the_bus_waits_for_its_broker(own_broker: EmbeddedBroker) -> None:
    own_broker.kill()
    bus = Bus(own_broker.url, name="a", connect_timeout_s=None)
    entering = asyncio.ensure_future(bus.__aenter__())
    await asyncio.sleep(0)
    own_broker.restart()
    async with asyncio.timeout(15):
        await entering
        assert bus.connected
    await bus.__aexit__(None, None, None)


async def test_a_loss_that_is_noticed_while_sending_is_a_loss_like_any_other(own_broker: EmbeddedBroker) -> None:
    claim = Claim(device="pi4", boot_id="b", role="worker", hostname="h")
    async with Bus(own_broker.url, name="a") as bus, bus.subscribe(DEVICE_CLAIM) as seen:
        own_broker.kill()
        # The event loop has not run since: the first of these finds a socket that seems well.
        pending = [asyncio.create_task(bus.publish(DEVICE_CLAIM, claim, device="pi4")) for _ in range(5)]
        await asyncio.sleep(0)
        own_broker.restart()
        assert all(await asyncio.gather(*pending))
        for _ in range(5):
            assert (await anext(seen)).message == claim
