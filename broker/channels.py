"""The connections of one bus: which there are, when each is opened, and that all are closed.

Control messages have one, all frames out have one, and so has each subscription to frames
(docs/decisions/0004-reconnect-policy.md says why they are apart).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Literal, Self

from broker.address import BrokerAddress
from broker.addressed import outgoing
from broker.channel import Channel
from broker.delivery import Will
from broker.dial import ConnectionSettings
from broker.edge import Edge
from broker.heap import keep_freed_memory
from broker.message import Incoming
from broker.rejections import Rejections
from broker.snapshot import retained_now
from schemas.base import check_name
from schemas.topics import ROOT


class Channels:
    """What `Bus`, which says what the arguments are, sends and listens on.

    Inherited, not held: a call through a member would cost every frame.
    """

    def __init__(
        self,
        address: BrokerAddress | str,
        *,
        name: str,
        root: str = ROOT,
        will: Will[Any] | None = None,
        keepalive_s: int = 5,
        receive_maximum: int = 4,
        connect_timeout_s: float | None = 10.0,
        refused_timeout_s: float | None = None,
    ) -> None:
        self.address = BrokerAddress.parse(address) if isinstance(address, str) else address
        self.name = check_name("client of the bus", name)
        self.root = root
        self._will = will
        self._keepalive_s = keepalive_s
        self._receive_maximum = receive_maximum
        self._connect_timeout_s = connect_timeout_s
        self._refused_timeout_s = refused_timeout_s
        self._rejections = Rejections()
        self._edge = Edge(root, self._rejections)
        self._control: Channel | None = None
        self._frames_out: Channel | None = None
        self._frames_in: set[Channel] = set()
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        control = Channel(self._settings("control"), self._rejections)
        await control.start(self._connect_timeout_s, refused_timeout_s=self._refused_timeout_s)
        self._control = control
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        control, self._control = self._control, None
        frames_out, self._frames_out = self._frames_out, None
        for channel in (*self._frames_in, frames_out, control):
            if channel is not None:
                await channel.stop()

    @property
    def connected(self) -> bool:
        """The control connection is up now."""
        return self._control is not None and self._control.connected

    @property
    def max_packet_bytes(self) -> int:
        """The largest packet that the broker passes (268435455 when it sets no limit)."""
        return self._entered().max_packet_bytes

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call this after each reconnect (not the first connect), when subscriptions and retained state are back.

        It may be cancelled, and called again, when the connection is lost meanwhile.
        """
        self._entered().on_reconnect(callback)

    def _settings(self, part: Literal["control", "in", "out"]) -> ConnectionSettings:
        will = self._will if part == "control" else None
        return ConnectionSettings(
            self.address,
            self._client_id(part),
            self._keepalive_s,
            receive_maximum=self._receive_maximum if part == "in" else None,
            manual_ack=part == "in",
            will=None if will is None else outgoing(self.root, will.topic, will.message, will.parameters),
        )

    def _client_id(self, part: str) -> str:
        return f"{self.name}-{part}-{secrets.token_hex(4)}"

    def _entered(self) -> Channel:
        if self._control is None:
            raise RuntimeError("the bus is not connected: use it inside `async with Bus(...)`")
        return self._control

    @contextlib.asynccontextmanager
    async def _intake(self) -> AsyncIterator[Channel]:
        """A channel for one subscription to frames.

        It stops reading when too many are unacknowledged, and then whatever else the broker says on it waits behind
        them: the answer to another subscription would.
        """
        channel = await self._frame_channel("in")
        self._frames_in.add(channel)
        try:
            yield channel
        finally:
            await channel.stop()
            self._frames_in.discard(channel)

    async def _outlet(self) -> Channel:
        """The channel for all frames out: it takes none in, so it always learns what became of those it sent."""
        async with self._opening:
            if self._frames_out is None:
                self._frames_out = await self._frame_channel("out")
            return self._frames_out

    async def _frame_channel(self, way: Literal["in", "out"]) -> Channel:
        self._entered()
        keep_freed_memory()
        channel = Channel(self._settings(way), self._rejections)
        await channel.start(self._connect_timeout_s)
        return channel

    async def _retained(self, pattern: str, timeout_s: float) -> list[Incoming]:
        """What the broker retains now that matches, over a connection for that alone."""
        settings = ConnectionSettings(self.address, self._client_id("snapshot"), self._keepalive_s)
        return await retained_now(settings, pattern, timeout_s=timeout_s)
