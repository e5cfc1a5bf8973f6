"""`stageline bench hop`: what one hop through the broker costs, against a bare asyncio TCP relay of the same bytes.

Both contestants are three processes on loopback TCP, as they would be three machines: a sender (this process), a
middle (mosquitto, the private one of the demo; or `relay.py`, a plain Python process that copies from one
asyncio stream to the other) and a receiver. One way is timed by CLOCK_MONOTONIC, which processes on one machine share:

- stageline: encode a float32 tensor into a frame, send it with QoS 1, receive it, check and open it, decode it.
- relay: write as many bytes as the frame has behind their length, and read them all.

The receiver waits before the clock starts. What follows a hop (PUBACK, acknowledgement) is finished before the next
turn begins. The two take turns strictly; the figures are medians.

The relay is bare in this too: it runs as Python comes. Our middle and both our ends keep freed memory for the next
frame (`broker/heap.py`, `broker/embedded.py`), most of what they gain from 200 KB up. To see the relay with the
same setting, start the bench with MALLOC_TRIM_THRESHOLD_=67108864 MALLOC_MMAP_THRESHOLD_=33554432.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import struct
import sys
import time
from asyncio import StreamReader, StreamWriter, subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final, TypedDict

import numpy as np

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from schemas.codec import Array
from schemas.frame import encode_frame
from schemas.frame_header import FrameHeader
from schemas.topics import STAGE

SIZES: Final = (50_000, 200_000, 800_000, 3_200_000)
PAIRS: Final = 300
QUICK_PAIRS: Final = 4
_RELAY: Final = Path(__file__).with_name("relay.py")
_HOST: Final = "127.0.0.1"
_HEADER: Final = FrameHeader(
    kind="work", request="bench", submitter="bench", deployment="bench", generation=1, budget_ms=10_000
)
_WARM_UP: Final = 20
_LENGTH: Final = struct.Struct("<I")

Turn = Callable[[], Awaitable[float]]


class HopFigures(TypedDict):
    """One line of the result; times are medians of one way."""

    bytes: int
    stageline_ms: float
    relay_ms: float
    ratio: float


def run(progress: Callable[[str, float], None] | None = None, *, quick: bool = False) -> list[HopFigures]:
    """Compare at each of `SIZES`: `PAIRS` timed turns of each contestant, a quarter of that for the largest size."""
    return asyncio.run(_measure(QUICK_PAIRS if quick else PAIRS, progress or (lambda _text, _share: None)))


async def _measure(pairs: int, report: Callable[[str, float], None]) -> list[HopFigures]:
    figures: list[HopFigures] = []
    with EmbeddedBroker() as broker:
        async with (
            _started(str(_RELAY)) as relay,
            _started("-m", "stageline.benches.hop", broker.url, port := (await relay.readline()).decode()) as arrivals,
            Bus(broker.url, name="bench-sender") as bus,
        ):
            await arrivals.readline()
            _, writer = await asyncio.open_connection(_HOST, int(port))
            for number, nbytes in enumerate(SIZES):
                report(f"{nbytes / 1000:g} KB", number / len(SIZES))
                array = np.random.default_rng(number).standard_normal(nbytes // 4, dtype=np.float32)
                count = pairs if nbytes < 1_000_000 else max(1, pairs // 4)
                hop, relayed = _hop(bus, arrivals, array), _write(writer, arrivals, array)
                figures.append(await _compare(nbytes, count, hop, relayed))
            writer.close()
            await writer.wait_closed()
    return figures


async def _compare(nbytes: int, pairs: int, hop: Turn, relay: Turn) -> HopFigures:
    times: dict[Turn, list[float]] = {hop: [], relay: []}
    for number in range(_WARM_UP + pairs):
        for turn in (hop, relay):
            elapsed_s = await turn()
            if number >= _WARM_UP:
                times[turn].append(elapsed_s)
    hop_ms, relay_ms = (1000 * statistics.median(times[turn]) for turn in (hop, relay))
    return HopFigures(
        bytes=nbytes, stageline_ms=round(hop_ms, 3), relay_ms=round(relay_ms, 3), ratio=round(hop_ms / relay_ms, 2)
    )


def _hop(bus: Bus, arrivals: StreamReader, array: Array) -> Turn:
    async def turn() -> float:
        started = time.monotonic()
        payload = encode_frame(_HEADER, {"x": array})
        await bus.send_frame(
            STAGE, payload, expiry_s=10, correlation="bench", deployment="bench", generation=1, device="x", stage="r0s0"
        )
        return float(await arrivals.readline()) - started

    return turn


def _write(writer: StreamWriter, arrivals: StreamReader, array: Array) -> Turn:
    payload = encode_frame(_HEADER, {"x": array})
    data = _LENGTH.pack(len(payload)) + payload

    async def turn() -> float:
        started = time.monotonic()
        writer.write(data)
        await writer.drain()
        return float(await arrivals.readline()) - started

    return turn


@contextlib.asynccontextmanager
async def _started(*arguments: str) -> AsyncIterator[StreamReader]:
    """A Python process, and what it writes."""
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=subprocess.PIPE)
    if process.stdout is None:
        raise RuntimeError("a pipe was asked for and not given")
    try:
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def _receive(url: str, port: int) -> None:
    """Say when each frame, and each message of the relay, had arrived."""
    reader, _writer = await asyncio.open_connection(_HOST, port)
    await reader.readexactly(1)
    async with (
        Bus(url, name="bench-receiver") as bus,
        bus.frames(STAGE, deployment="bench", generation=1, device="x", stage="r0s0") as frames,
        asyncio.TaskGroup() as tasks,
    ):

        async def through_the_broker() -> None:
            async for delivery in frames:
                delivery.frame.arrays()
                arrived = time.monotonic()
                delivery.ack()
                _say(repr(arrived))

        async def through_the_relay() -> None:
            while True:
                (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                await reader.readexactly(length)
                _say(repr(time.monotonic()))

        tasks.create_task(through_the_broker())
        tasks.create_task(through_the_relay())
        _say("ready")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_receive(sys.argv[1], int(sys.argv[2])))
