"""A load for one broker: many light MQTT clients in one process, either all submitters or all devices.

    python -m bench.bus_load submitters PORT COUNT PAYLOAD_BYTES WINDOW
    python -m bench.bus_load devices PORT COUNT PAYLOAD_BYTES WINDOW

Each submitter keeps WINDOW frames under way to the device of its number, which answers each with a small one. All is
QoS 1, as Stageline's frames are. The clients speak just enough MQTT 3.1.1 to do this and look at no payload but its
first bytes, where the sender's clock is: what one Python client does with a frame is not what is measured here. The
process says "ready" when all are subscribed, is told `BEGIN END` (CLOCK_MONOTONIC, seconds), starts at once, and tells
in a line of JSON what was answered between the two.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
from collections.abc import Callable
from typing import Final

import numpy as np

ANSWER_BYTES: Final = 4096
"""A thousand class scores."""
_HOST: Final = "127.0.0.1"
_CONNACK, _PUBLISH, _PUBACK, _SUBACK = 0x20, 0x30, 0x40, 0x90
_CLOCK: Final = struct.Struct(">d")
_QOS_1: Final = 0x02


class NotServedError(RuntimeError):
    """The broker refused a client; the message says what it was asked."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(f"the broker refused to {what} (code {code}); is it one of ours, without users?")


def packet(kind: int, *parts: bytes) -> bytes:
    """An MQTT packet: its kind, its length in seven bits a byte, and what it holds."""
    body = b"".join(parts)
    length, left = bytearray(), len(body)
    while True:
        left, low = divmod(left, 128)
        length.append(low | (0x80 if left else 0))
        if not left:
            return bytes([kind]) + bytes(length) + body


def text(value: str) -> bytes:
    """A string as MQTT writes it."""
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


def whole_packet(buffer: bytearray) -> tuple[int, int, int] | None:
    """Kind, first byte of the body, and end of the packet that a buffer begins with; None while it is incomplete."""
    length = shift = 0
    for position in range(1, min(len(buffer), 5)):
        length |= (buffer[position] & 0x7F) << shift
        shift += 7
        if not buffer[position] & 0x80:
            end = position + 1 + length
            return (buffer[0], position + 1, end) if end <= len(buffer) else None
    return None


class LightClient(asyncio.Protocol):
    """One MQTT connection: subscribed to one topic, publishing to another.

    Args:
        name: of the client.
        listens: topic to subscribe to.
        sends: topic to publish to.
        payload_bytes: size of what it publishes; begins with 8 bytes that are given each time.
        came: called with the first 8 bytes of each message, after it is acknowledged.
    """

    def __init__(
        self, name: str, listens: str, sends: str, payload_bytes: int, came: Callable[[LightClient, bytes], None]
    ) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._name, self._listens, self._came = name, listens, came
        self._rest = bytes(max(0, payload_bytes - _CLOCK.size))
        self._topic = text(sends)
        head = packet(_PUBLISH | _QOS_1, self._topic, bytes(2 + _CLOCK.size), self._rest)
        self._fixed = head[: len(head) - len(self._topic) - 2 - _CLOCK.size - len(self._rest)]
        self._number = 0
        self._buffer = bytearray()
        self.lost = False
        """The broker hung up after it had taken us."""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce ourselves."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a stream was asked for and not given")
        self._transport = transport
        transport.write(packet(0x10, text("MQTT"), bytes([4, 2, 0, 0]), text(self._name)))

    def data_received(self, data: bytes) -> None:
        """Take apart what came."""
        self._buffer += data
        while (found := whole_packet(self._buffer)) is not None:
            kind, body, end = found
            if kind & 0xF0 == _PUBLISH:
                self._message(body)
            elif kind == _CONNACK:
                self._check("connect", self._buffer[body + 1])
                self._transport.write(packet(0x82, b"\0\1", text(self._listens), b"\1"))
            elif kind == _SUBACK:
                self._check("subscribe", self._buffer[body + 2] & 0x80)
                self.ready.set_result(None)
            del self._buffer[:end]

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits for us should not wait for ever, and whoever counts answers should know."""
        self.lost = True
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionError("the broker closed the connection"))

    def send(self, stamp: bytes) -> None:
        """Publish a message that begins with these 8 bytes."""
        self._number = self._number % 65535 + 1
        self._transport.writelines(
            [self._fixed, self._topic, self._number.to_bytes(2, "big"), stamp, self._rest]
        )  # fmt: skip

    def close(self) -> None:
        """Hang up."""
        self._transport.abort()

    def _message(self, body: int) -> None:
        number = body + 2 + int.from_bytes(self._buffer[body : body + 2], "big")
        self._transport.write(b"\x40\x02" + self._buffer[number : number + 2])
        self._came(self, bytes(self._buffer[number + 2 : number + 2 + _CLOCK.size]))

    def _check(self, what: str, code: int) -> None:
        if code:
            self.ready.set_exception(NotServedError(what, code))


async def submitters(port: int, count: int, payload_bytes: int, window: int) -> None:
    """Ask as long as we are told, and tell what was answered."""
    answers: list[tuple[float, float]] = []
    end = [0.0]

    def came(client: LightClient, stamp: bytes) -> None:
        now = time.monotonic()
        answers.append((now, now - _CLOCK.unpack(stamp)[0]))
        if now < end[0]:
            client.send(_CLOCK.pack(now))

    clients = await _connected("submitter", "device", port, count, payload_bytes=payload_bytes, came=came)
    begin, end[0] = await _told()
    for client in clients:
        for _ in range(window):
            client.send(_CLOCK.pack(time.monotonic()))
    cpu_s = await _cpu_between(begin, end[0])
    latencies_ms = [1000 * took for at, took in answers if begin <= at < end[0]]
    p50, p99 = (float(value) for value in np.percentile(latencies_ms or [np.nan], [50, 99]))
    lost = sum(client.lost for client in clients)
    _say(json.dumps({"answers": len(latencies_ms), "p50_ms": p50, "p99_ms": p99, "cpu_s": cpu_s, "lost": lost}))


async def devices(port: int, count: int, _payload_bytes: int, _window: int) -> None:
    """Answer as long as we are told."""
    clients = await _connected("device", "submitter", port, count, payload_bytes=ANSWER_BYTES, came=LightClient.send)
    begin, end = await _told()
    cpu_s = await _cpu_between(begin, end)
    _say(json.dumps({"cpu_s": cpu_s, "lost": sum(client.lost for client in clients)}))


async def _connected(
    role: str, other: str, port: int, count: int, *, payload_bytes: int, came: Callable[[LightClient, bytes], None]
) -> list[LightClient]:
    loop = asyncio.get_running_loop()
    clients = []
    for number in range(count):

        def client(number: int = number) -> LightClient:
            return LightClient(
                f"{role}-{number}", f"load/{role}/{number}", f"load/{other}/{number}", payload_bytes, came
            )

        _transport, made = await loop.create_connection(client, _HOST, port)
        clients.append(made)
    await asyncio.gather(*(one.ready for one in clients))
    return clients


async def _told() -> tuple[float, float]:
    _say("ready")
    begin, end = (await asyncio.to_thread(sys.stdin.readline)).split()
    return float(begin), float(end)


async def _cpu_between(begin: float, end: float) -> float:
    await asyncio.sleep(begin - time.monotonic())
    before = time.process_time()
    await asyncio.sleep(end - time.monotonic())
    return time.process_time() - before


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    role = {"submitters": submitters, "devices": devices}[sys.argv[1]]
    asyncio.run(role(*map(int, sys.argv[2:])))
