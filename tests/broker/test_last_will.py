"""What the broker says for those who vanish, and what it must not say for those who are back."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import pytest

from broker.bus import Bus, Will
from broker.embedded import EmbeddedBroker
from schemas.device import DeviceStatus
from schemas.topics import DEVICE_STATUS

pytestmark = pytest.mark.timeout(60)
ONLINE = DeviceStatus(device="pi4", boot_id="b", online=True)
OFFLINE = DeviceStatus(device="pi4", boot_id="b", online=False, reason="will")
WILL = Will(DEVICE_STATUS, OFFLINE, {"device": "pi4"})

DEVICE = """
import asyncio, sys
from broker.bus import Bus, Will
from schemas.device import DeviceStatus
from schemas.topics import DEVICE_STATUS

async def main(url, root):
    will = Will(DEVICE_STATUS, DeviceStatus(device="pi4", boot_id="b", online=False, reason="will"), {"device": "pi4"})
    async with Bus(url, name="pi4", root=root, will=will) as bus:
        await bus.publish(DEVICE_STATUS, DeviceStatus(device="pi4", boot_id="b", online=True), device="pi4")
        await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_the_will_of_a_process_that_is_killed_is_published_and_kept(broker: EmbeddedBroker, root: str) -> None:
    async with Bus(broker.url, name="hub", root=root) as hub, hub.subscribe(DEVICE_STATUS) as seen:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", DEVICE, broker.url, root)
        try:
            async with asyncio.timeout(30):
                assert (await anext(seen)).message == ONLINE
                process.kill()
                assert (await anext(seen)).message == OFFLINE
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        assert [delivery.message for delivery in await hub.snapshot(DEVICE_STATUS)] == [OFFLINE]


async def test_leaving_in_good_order_publishes_no_will(broker: EmbeddedBroker, root: str) -> None:
    async with Bus(broker.url, name="hub", root=root) as hub:
        async with Bus(broker.url, name="pi4", root=root, will=WILL) as device:
            await device.publish(DEVICE_STATUS, ONLINE, device="pi4")
        assert [delivery.message for delivery in await hub.snapshot(DEVICE_STATUS)] == [ONLINE]


async def test_the_late_will_of_a_stale_connection_cannot_bury_the_device_that_is_back(
    broker: EmbeddedBroker, root: str
) -> None:
    """The device loses a connection that the broker still believes in, as when a router forgets it."""
    held: list[asyncio.StreamWriter] = []
    cut: list[asyncio.StreamWriter] = []

    async def router(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection("127.0.0.1", broker.port)
        held.append(to_broker)
        cut.append(writer)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)

        await asyncio.gather(copy(reader, to_broker), copy(from_broker, writer))

    server = await asyncio.start_server(router, "127.0.0.1", 0)
    url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, Bus(broker.url, name="hub", root=root) as hub, hub.subscribe(DEVICE_STATUS) as seen:
        async with Bus(url, name="pi4", root=root, will=WILL) as device:
            await device.publish(DEVICE_STATUS, ONLINE, device="pi4")
            assert (await anext(seen)).message == ONLINE
            cut[0].close()
            async with asyncio.timeout(20):
                assert (await anext(seen)).message == OFFLINE
                assert (await anext(seen)).message == ONLINE
            assert [delivery.message for delivery in await hub.snapshot(DEVICE_STATUS)] == [ONLINE]
        for writer in (*held, *cut):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
