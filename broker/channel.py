"""One connection that heals itself: it reconnects, subscribes again, and says again what the broker should retain."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from paho.mqtt.packettypes import PacketTypes

from broker.backoff import delays
from broker.connection import (
    Accepted,
    BrokerUnreachableError,
    BusError,
    Connection,
    ConnectionLostError,
    ConnectionSettings,
    Incoming,
    Outgoing,
    SubscribeRefusedError,
    reason_name,
)
from broker.inbox import Inbox

_LOG = logging.getLogger(__name__)
_MOST_IDENTIFIERS: Final = 268_435_455
_FIRST_FAILURE: Final = 0x80
NO_SUBSCRIBER: Final = 0x10


class TooLargeError(BusError):
    """A message that this broker will not pass."""

    def __init__(self, address: str, packet_bytes: int, most_bytes: int) -> None:
        super().__init__(
            f"{address}: {packet_bytes} bytes, and this broker passes at most {most_bytes}. Set `max_packet_size "
            f"{max(packet_bytes, 64 << 20)}` in its mosquitto.conf and restart it, or send less (a codec: u8, zstd)"
        )


class PublishRefusedError(BusError):
    """The broker took a message and said that it would not pass it on."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"the broker refused a message to {address}: {reason}. Check its access rules (acl_file) for this user"
        )


@dataclass(eq=False)
class _Filter:
    """One filter at the broker, and all that listen to it here."""

    pattern: str
    inboxes: list[Inbox] = field(default_factory=list)
    subscribed_on: Connection | None = None


class Channel:
    """A connection that is there whenever the broker is. `start` and `stop`.

    Each SUBSCRIBE carries an identifier of its own, and the broker puts it on every message that matched. So a message
    that matches two overlapping filters reaches each listener once, and the retained messages that a new listener
    asked for reach only that listener.
    """

    def __init__(self, settings: ConnectionSettings, rejected: Counter[str]) -> None:
        self._settings = settings
        self._rejected = rejected
        self._connection: Connection | None = None
        self._up = asyncio.Event()
        self._filters: dict[str, _Filter] = {}
        self._identifiers: dict[int, tuple[_Filter, Inbox | None]] = {}
        self._next_identifier = itertools.count(1)
        self._retained: dict[str, Outgoing] = {}
        self._callbacks: list[Callable[[], Awaitable[None]]] = []
        self._keeper: asyncio.Task[None] | None = None
        self._rng = random.Random()  # noqa: S311 - jitter

    @property
    def connected(self) -> bool:
        """There is a connection now."""
        return self._up.is_set()

    @property
    def max_packet_bytes(self) -> int:
        """The broker's limit, from the latest connection."""
        return self._connection.max_packet_bytes if self._connection else 0

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call this after each reconnect, when subscriptions and retained messages are back."""
        self._callbacks.append(callback)

    async def start(self, timeout_s: float | None) -> None:
        """Connect, and stay connected until `stop`.

        Raises:
            BrokerUnreachableError: not within `timeout_s` (None: keep trying).
            BrokerRefusedError: wrong credentials.
        """
        self._connection = await self._connect(timeout_s)
        self._up.set()
        self._keeper = asyncio.create_task(self._keep(self._connection), name=f"bus {self._settings.client_id}")

    async def stop(self) -> None:
        """Disconnect in good order."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        self._up.clear()
        if self._connection is not None:
            await self._connection.close()

    async def publish(self, message: Outgoing, *, timeout_s: float, remember: bool = False) -> Accepted:
        """Send; with QoS 1 until the broker has it, over lost connections too.

        With `remember`, the message is said again after every reconnect, until `forget`.

        Raises:
            TooLargeError: it will not pass this broker.
            PublishRefusedError: the broker refused it.
            BrokerUnreachableError: not within `timeout_s`.
        """
        if remember:
            self._retained[message.address] = message
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    connection = await self._available()
                    if remember and self._retained.get(message.address) is not message:
                        return Accepted(0, 0.0)
                    if message.packet_bytes > connection.max_packet_bytes:
                        raise TooLargeError(message.address, message.packet_bytes, connection.max_packet_bytes)
                    with contextlib.suppress(ConnectionLostError):
                        accepted = await connection.publish(message)
                        break
        except TimeoutError:
            raise BrokerUnreachableError(self._settings.address, timeout_s, "the connection was lost") from None
        except TooLargeError:
            self.forget(message)
            raise
        if accepted.reason >= _FIRST_FAILURE:
            self.forget(message)
            raise PublishRefusedError(message.address, reason_name(PacketTypes.PUBACK, accepted.reason))
        return accepted

    def forget(self, message: Outgoing) -> None:
        """Do not say this again after a reconnect."""
        if self._retained.get(message.address) is message:
            del self._retained[message.address]

    def forget_address(self, address: str) -> None:
        """Do not say anything again there after a reconnect."""
        self._retained.pop(address, None)

    @contextlib.asynccontextmanager
    async def listen(self, pattern: str, *, timeout_s: float) -> AsyncIterator[Inbox]:
        """An inbox of everything that matches `pattern`, subscribed when entered.

        Raises:
            SubscribeRefusedError: the broker refused.
            BrokerUnreachableError: not within `timeout_s`.
        """
        inbox = Inbox(pattern, self._rejected)
        entry = self._filters.setdefault(pattern, _Filter(pattern))
        late = bool(entry.inboxes)
        entry.inboxes.append(inbox)
        try:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._subscribe_once(entry, inbox if late else None)
            except TimeoutError:
                raise BrokerUnreachableError(self._settings.address, timeout_s, "the connection was lost") from None
            yield inbox
        finally:
            entry.inboxes.remove(inbox)
            if not entry.inboxes:
                self._drop(entry)

    async def _subscribe_once(self, entry: _Filter, newcomer: Inbox | None) -> None:
        while True:
            connection = await self._available()
            if entry.subscribed_on is connection and newcomer is None:
                return
            with contextlib.suppress(ConnectionLostError):
                await self._subscribe(connection, entry, newcomer)
                return

    async def _subscribe(self, connection: Connection, entry: _Filter, newcomer: Inbox | None) -> None:
        identifier = next(self._next_identifier)
        self._identifiers[identifier] = (entry, newcomer)
        await connection.subscribe(entry.pattern, identifier)
        entry.subscribed_on = connection

    def _drop(self, entry: _Filter) -> None:
        if self._filters.get(entry.pattern) is entry:
            del self._filters[entry.pattern]
            if self._connection is not None:
                self._connection.unsubscribe(entry.pattern)
        for identifier in [number for number, (owner, _) in self._identifiers.items() if owner is entry]:
            del self._identifiers[identifier]

    def _dispatch(self, message: Incoming) -> None:
        reached: set[int] = set()
        for identifier in message.subscriptions:
            entry, newcomer = self._identifiers.get(identifier, (None, None))
            if entry is None:
                continue
            for inbox in [newcomer] if newcomer is not None and message.retained else entry.inboxes:
                if id(inbox) not in reached:
                    reached.add(id(inbox))
                    inbox.put(message)
        if not reached and self._settings.manual_ack:
            message.connection.ack(message.mid)

    async def _available(self) -> Connection:
        while True:
            await self._up.wait()
            if self._keeper is not None and self._keeper.done():
                self._keeper.result()
            if self._connection is not None and not self._connection.lost.done():
                return self._connection
            self._up.clear()

    async def _connect(self, timeout_s: float | None) -> Connection:
        started = time.monotonic()
        for delay in delays(self._rng):
            connection = Connection(self._settings, self._dispatch)
            try:
                await connection.open()
            except ConnectionLostError as error:
                waited = time.monotonic() - started
                if timeout_s is not None and waited + delay > timeout_s:
                    raise BrokerUnreachableError(self._settings.address, timeout_s, str(error)) from error
                _LOG.info("no broker at %s yet (%s)", self._settings.address, error)
                await asyncio.sleep(delay)
            else:
                return connection
        raise AssertionError("delays never end")

    async def _keep(self, connection: Connection) -> None:
        """Wait for the loss of each connection and make the next."""
        callbacks: asyncio.Task[None] | None = None
        try:
            while True:
                reason = await asyncio.shield(connection.lost)
                self._up.clear()
                _LOG.warning("lost the broker at %s (%s); reconnecting", self._settings.address, reason)
                if callbacks is not None:
                    callbacks.cancel()
                connection = await self._reconnect()
                _LOG.info("the broker at %s is back", self._settings.address)
                callbacks = asyncio.create_task(self._call_back(), name=f"reconnected {self._settings.client_id}")
        except BusError as error:
            self._fail(error)
            raise
        finally:
            if callbacks is not None:
                callbacks.cancel()

    async def _reconnect(self) -> Connection:
        while True:
            connection = await self._connect(None)
            try:
                await self._restore(connection)
            except ConnectionLostError:
                continue
            self._connection = connection
            self._up.set()
            return connection

    async def _restore(self, connection: Connection) -> None:
        for entry in list(self._filters.values()):
            try:
                await self._subscribe(connection, entry, None)
            except SubscribeRefusedError as error:
                for inbox in entry.inboxes:
                    inbox.fail(error)
        for message in list(self._retained.values()):
            if self._retained.get(message.address) is message:
                await connection.publish(message)

    async def _call_back(self) -> None:
        for callback in list(self._callbacks):
            await callback()

    def _fail(self, error: BaseException) -> None:
        for entry in self._filters.values():
            for inbox in entry.inboxes:
                inbox.fail(error)
        self._up.set()
