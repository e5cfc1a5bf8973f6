"""Round trip, up-link and down-link: the arithmetic, and the method over a link of known speed."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from broker.bus import Bus
from schemas.device import Command
from schemas.topics import DEVICE_COMMAND
from services.monitor.link import (
    FASTEST_MBPS,
    SLOWEST_MBPS,
    SMALLEST_PROBE_BYTES,
    Link,
    Times,
    differs,
    estimate,
    remember,
    resize,
    settle,
)
from services.monitor.probe import FIRST_PROBE_BYTES, LARGEST_PROBE_BYTES, LinkProbe

MEGABYTE = 1_000_000


def test_a_quiet_link_gives_back_what_it_was_made_of():
    # 1 MB: 0.4 s up (20 Mbit/s), 0.1 s down (80 Mbit/s), 10 ms round trip
    link = estimate(Times([0.01] * 3, [0.41] * 3, [0.01] * 3, [0.51] * 3, MEGABYTE))
    assert link.rtt_ms == pytest.approx(10)
    assert link.up_mbps == pytest.approx(20)
    assert link.down_mbps == pytest.approx(80)


def test_one_slow_message_among_several_changes_nothing():
    quiet = Times([0.01] * 3, [0.41] * 3, [0.01] * 3, [0.51] * 3, MEGABYTE)
    noisy = Times([0.01, 0.9, 0.01], [0.41, 0.41, 3.0], [0.5, 0.01, 0.01], [0.51, 9.0, 0.51], MEGABYTE)
    assert estimate(noisy) == estimate(quiet)


def test_a_direction_that_noise_hides_is_taken_to_be_like_the_other():
    slow_up = estimate(Times([0.01] * 3, [0.41] * 3, [0.01] * 3, [0.40] * 3, MEGABYTE))
    assert slow_up.down_mbps == slow_up.up_mbps == pytest.approx(MEGABYTE * 8e-6 / 0.4)
    slow_down = estimate(Times([0.41] * 3, [0.40] * 3, [0.01] * 3, [0.51] * 3, MEGABYTE))
    assert slow_down.up_mbps == slow_down.down_mbps == pytest.approx(MEGABYTE * 8e-6 / 0.5)


def test_noise_larger_than_the_signal_is_never_zero_nor_infinite():
    for times in (
        Times([0.02], [0.01], [0.03], [0.01], 1000),
        Times([0.0], [0.0], [0.0], [0.0], 1000),
        Times([0.0], [1e9], [0.0], [3e9], 1000),
    ):
        link = estimate(times)
        assert SLOWEST_MBPS <= link.up_mbps <= FASTEST_MBPS
        assert SLOWEST_MBPS <= link.down_mbps <= FASTEST_MBPS


def test_an_outlier_among_recent_probes_is_outvoted():
    usual = Link(2.0, 90.0, 95.0, 1 << 20)
    assert settle([usual, Link(80.0, 3.0, 4.0, 1 << 20), usual]) == usual


def test_probes_grow_while_they_are_too_quick_and_shrink_when_they_hold_the_link_up():
    assert resize(64 << 10, 0.001, LARGEST_PROBE_BYTES) == 256 << 10
    assert resize(LARGEST_PROBE_BYTES, 0.001, LARGEST_PROBE_BYTES) == LARGEST_PROBE_BYTES
    assert resize(64 << 10, 0.05, LARGEST_PROBE_BYTES) == 64 << 10
    assert resize(64 << 10, 0.5, LARGEST_PROBE_BYTES) == 16 << 10
    assert resize(SMALLEST_PROBE_BYTES, 60.0, LARGEST_PROBE_BYTES) == SMALLEST_PROBE_BYTES
    assert resize(256 << 10, 0.05, 100_000) == 100_000


FAST, SLOW = Link(2.0, 95.0, 97.0, 1 << 20), Link(3.0, 5.1, 4.9, 1 << 16)


def test_one_probe_that_contradicts_the_past_is_left_to_the_median_and_two_forget_it():
    assert settle(remember([FAST, FAST, FAST], SLOW)).up_mbps == 95.0
    assert remember([FAST, FAST, FAST], SLOW, SLOW) == (SLOW, SLOW)
    assert remember([FAST, FAST, FAST], SLOW, FAST) == (FAST, SLOW, FAST)
    assert remember([], SLOW) == (SLOW,)


@pytest.mark.parametrize(
    ("other", "changed"),
    [
        (FAST, False),
        (Link(2.5, 60.0, 80.0, 1 << 20), False),
        (Link(9.0, 95.0, 97.0, 1 << 20), False),
        (Link(2.0, 95.0, 10.0, 1 << 20), True),
        (Link(80.0, 95.0, 97.0, 1 << 20), True),
    ],
)
def test_links_differ_by_rates_or_by_round_trips_that_scheduling_does_not_explain(other, changed):
    assert differs(FAST, other) is differs(other, FAST) is changed


class Speed:
    """Of a link, changed while it is used."""

    def __init__(self, up_mbps: float, down_mbps: float) -> None:
        self.up_mbps, self.down_mbps = up_mbps, down_mbps


@contextlib.asynccontextmanager
async def slow_link(to_port: int, *, up_mbps: float, down_mbps: float):
    """A TCP relay that passes bytes on no faster than told; gives its port."""
    async with changing_link(to_port, Speed(up_mbps, down_mbps)) as port:
        yield port


@contextlib.asynccontextmanager
async def changing_link(to_port: int, speed: Speed):
    """A TCP relay that passes bytes on no faster than `speed` says at the moment; gives its port."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        loop = asyncio.get_running_loop()
        came: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def take_in() -> None:
            try:
                while chunk := await reader.read(8192):
                    came.put_nowait((loop.time(), chunk))
            finally:
                came.put_nowait((loop.time(), b""))

        async def pass_on() -> None:
            free_at = loop.time()
            while True:
                came_at, chunk = await came.get()
                if not chunk:
                    break
                # Where we wake up late the link was not idle: what waits follows so much sooner.
                free_at = max(free_at, came_at) + len(chunk) * 8e-6 / getattr(speed, way)
                await asyncio.sleep(free_at - loop.time())
                writer.write(chunk)
                await writer.drain()
            writer.close()

        await asyncio.gather(take_in(), pass_on())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection("127.0.0.1", to_port)
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(relay(reader, their_writer, "up_mbps"), relay(their_reader, writer, "down_mbps"))
        for end in (writer, their_writer):
            end.close()
            with contextlib.suppress(ConnectionError):
                await end.wait_closed()

    serving = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    async with asyncio.timeout(10):
        await asyncio.gather(*serving)


async def test_a_link_of_known_speed_is_measured_as_what_it_is(broker, root):
    async with (
        slow_link(broker.port, up_mbps=10, down_mbps=40) as port,
        Bus(f"mqtt://127.0.0.1:{port}", name="probe", root=root) as bus,
    ):
        probe = LinkProbe(bus, device="pi4", period_s=30)
        # A probe that a busy machine holds up tells less than there is: the medians of several come to the truth.
        for _ in range(9):
            await probe.measure()
            link = probe.latest()
            rates = link.up_mbps == pytest.approx(10, rel=0.3) and link.down_mbps == pytest.approx(40, rel=0.5)
            if rates and link.rtt_ms < 100:
                break
    assert link.up_mbps == pytest.approx(10, rel=0.3)
    assert link.down_mbps == pytest.approx(40, rel=0.5)
    assert link.rtt_ms < 100


async def test_the_first_measurement_comes_at_once(broker, root):
    async with Bus(broker.url, name="probe", root=root) as bus:
        probe = LinkProbe(bus, device="pi4", period_s=3600)
        assert probe.latest() is None
        task = asyncio.create_task(probe.keep_measuring())
        async with asyncio.timeout(10):
            await probe.known.wait()
        assert probe.latest().rtt_ms > 0
        task.cancel()
        await asyncio.wait([task])


async def test_a_failed_probe_is_tried_again(broker, root, monkeypatch, caplog):
    monkeypatch.setattr("services.monitor.probe._AFTER_FAILURE_S", 0.01)
    async with Bus(broker.url, name="probe", root=root) as bus:
        probe = LinkProbe(bus, device="pi4", period_s=3600)
        bulk, failures = bus.bulk, iter([True, False])

        def sometimes() -> object:
            if next(failures):
                raise TimeoutError
            return bulk()

        monkeypatch.setattr(bus, "bulk", sometimes)
        task = asyncio.create_task(probe.keep_measuring())
        async with asyncio.timeout(10):
            await probe.known.wait()
        task.cancel()
        await asyncio.wait([task])
    assert "the link could not be measured: the probe took too long" in caplog.text


async def test_a_probe_stays_below_what_the_broker_passes(broker, root, monkeypatch):
    sizes = []
    async with Bus(broker.url, name="probe", root=root) as bus, bus.bulk() as own:
        real = own.publish_bytes

        async def seen(address: str, payload: bytes) -> float:
            sizes.append(len(payload))
            return await real(address, payload)

        monkeypatch.setattr(own, "publish_bytes", seen)
        monkeypatch.setattr(type(own), "max_packet_bytes", 100_000)
        monkeypatch.setattr(bus, "bulk", lambda: contextlib.nullcontext(own))
        await LinkProbe(bus, device="pi4", period_s=30).measure()
    assert max(sizes) == 100_000 - 1024


async def test_a_link_that_becomes_slow_is_known_soon_after_the_planner_asks(broker, root):
    speed = Speed(60.0, 60.0)
    async with (
        changing_link(broker.port, speed) as port,
        Bus(f"mqtt://127.0.0.1:{port}", name="probe", root=root) as bus,
        Bus(broker.url, name="planner", root=root) as planner,
    ):
        probe = LinkProbe(bus, device="pi4", period_s=3600)
        for _ in range(3):
            await probe.measure()
        tasks = [asyncio.create_task(probe.keep_measuring()), asyncio.create_task(probe.follow_commands())]
        speed.up_mbps = speed.down_mbps = 3.0
        async with asyncio.timeout(60):
            while True:
                if await planner.publish(DEVICE_COMMAND, Command(kind="probe"), device="pi4"):
                    break
                await asyncio.sleep(0.05)
            while probe.latest().up_mbps > 10:
                await probe.news.wait()
                probe.news.clear()
        assert probe.latest().down_mbps < 10
        assert probe.latest().probe_bytes <= FIRST_PROBE_BYTES
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
