"""The real process on a real broker: birth, will, farewell, telemetry, and what a person is told when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys

import pytest

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from schemas.device import DeviceStatus
from schemas.topics import DEVICE_INFO, DEVICE_STATUS, DEVICE_TELEMETRY

WITHIN_S = 60.0


class Monitor:
    """One monitor process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def exit(self) -> tuple[int, str]:
        """Exit code and everything it logged."""
        async with asyncio.timeout(WITHIN_S):
            _, log = await self.process.communicate()
        return self.process.returncode, log.decode()


@pytest.fixture
async def monitor(root):
    """Start monitors; what a test leaves running is killed."""
    async with contextlib.AsyncExitStack() as started:

        async def start(url: str, *flags: str, device: str = "pi4") -> Monitor:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "services.monitor.main"),
                *("--broker", url, "--root", root, "--device", device, *flags),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env={name: value for name, value in os.environ.items() if not name.startswith("STAGELINE_")},
            )
            started.push_async_callback(end, process)
            return Monitor(process)

        yield start


async def end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.communicate()


@pytest.fixture
async def bus(broker, root):
    async with Bus(broker.url, name="watcher", root=root) as watcher:
        yield watcher


async def until(deliveries, wanted):
    async with asyncio.timeout(WITHIN_S):
        async for delivery in deliveries:
            if wanted(delivery.message):
                return delivery.message
    raise AssertionError("the subscription ended")


def online(state: DeviceStatus) -> bool:
    return state.online


def offline(state: DeviceStatus) -> bool:
    return not state.online


async def test_it_is_born_tells_what_it_is_and_how_it_is_doing_and_says_goodbye(broker, bus, monitor):
    async with (
        bus.subscribe(DEVICE_STATUS, device="pi4") as states,
        bus.subscribe(DEVICE_INFO, device="pi4") as infos,
        bus.subscribe(DEVICE_TELEMETRY, device="pi4") as telemetry,
    ):
        started = await monitor(broker.url, "--telemetry-period-s", "0.2", "--capacity-cores", "0.5")
        born = await until(states, online)
        info = await until(infos, lambda _: True)
        assert (info.boot_id, info.capacity_cores) == (born.boot_id, 0.5)
        assert info.hostname == socket.gethostname()
        assert info.power.method == "modelled"

        seen = await until(telemetry, lambda message: message.link is not None)
        later = await until(telemetry, lambda message: message.sequence >= seen.sequence + 2)
        assert seen.boot_id == born.boot_id
        assert seen.link.rtt_ms > 0
        assert seen.link.up_mbps > 0
        assert seen.link.down_mbps > 0
        assert seen.power.source
        assert 0 < later.memory_free_bytes <= later.memory_bytes
        assert later.unix_time > seen.unix_time

        started.process.send_signal(signal.SIGTERM)
        code, log = await started.exit()
        assert code == 0
        assert await until(states, offline) == born.model_copy(update={"online": False, "reason": "stopped"})
        assert {"info"} == {json.loads(line)["level"] for line in log.splitlines()}


async def test_killed_it_leaves_its_will_and_reborn_it_is_not_buried_by_it(broker, bus, monitor):
    async with bus.subscribe(DEVICE_STATUS, device="pi4") as states:
        first = await monitor(broker.url)
        born = await until(states, online)
        first.process.kill()
        will = await until(states, offline)
        assert (will.boot_id, will.reason) == (born.boot_id, "connection lost")

        await monitor(broker.url)
        reborn = await until(states, online)
        assert reborn.boot_id != born.boot_id
        await bus.publish(DEVICE_STATUS, will, device="pi4")
        await until(states, offline)
        assert (await until(states, online)).boot_id == reborn.boot_id


async def test_a_second_device_with_the_same_name_is_refused_and_the_first_stays(broker, bus, monitor):
    async with bus.subscribe(DEVICE_STATUS, device="pi4") as states:
        await monitor(broker.url)
        born = await until(states, online)
        second = await monitor(broker.url)
        code, log = await second.exit()
        assert code == 2
        assert "another monitor named 'pi4' is already on this broker" in log
        assert "--device NAME" in log
        (now,) = await bus.snapshot(DEVICE_STATUS, device="pi4")
        assert now.message == born


async def test_it_comes_back_when_the_broker_forgot_everything(root, monitor):
    with EmbeddedBroker() as own:
        async with Bus(own.url, name="watcher", root=root) as bus, bus.subscribe(DEVICE_STATUS, device="pi4") as states:
            await monitor(own.url)
            born = await until(states, online)
            own.kill()
            own.restart()
            assert (await until(states, online)).boot_id == born.boot_id
            async with bus.subscribe(DEVICE_INFO, device="pi4") as infos:
                assert (await until(infos, lambda _: True)).boot_id == born.boot_id


async def test_a_smart_plug_makes_its_power_measured(broker, root, bus, monitor):
    async with (
        bus.subscribe(DEVICE_TELEMETRY, device="pi4") as telemetry,
        Bus(broker.url, name="plug", root=f"{root}/plug") as plug,
    ):
        await monitor(broker.url, "--telemetry-period-s", "0.2", "--plug-topic", f"{root}/plug/SENSOR")
        silent = await until(telemetry, lambda _: True)
        assert silent.power.method == "modelled"
        assert silent.power.source.endswith("is silent")
        measured = silent
        # Until it has subscribed it hears nothing, and it may have done so between the two.
        while measured.power.method == "modelled" or not measured.rejected.get("plug"):
            await plug.publish_bytes("SENSOR", b"no reading")
            await plug.publish_bytes("SENSOR", b'{"ENERGY":{"Power":5.5}}')
            measured = await until(telemetry, lambda _: True)
        assert measured.power.watts == 5.5


async def test_an_illegal_name_is_refused_with_what_is_legal(broker, monitor):
    code, log = await (await monitor(broker.url, device="living room")).exit()
    assert code == 2
    (line,) = log.splitlines()
    assert "'living room' cannot name a device: use 1 to 64 letters, digits, '-' or '_'" in line


async def test_an_unreachable_broker_is_an_error_that_says_what_to_do_when_a_time_is_set(monitor):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        code, log = await (await monitor(f"mqtt://127.0.0.1:{port}", "--connect-timeout-s", "0.3")).exit()
    assert code == 2
    last = json.loads(log.splitlines()[-1])
    assert last["level"] == "error"
    assert f"127.0.0.1:{port}" in last["message"]
    assert "stageline doctor" in last["message"]
