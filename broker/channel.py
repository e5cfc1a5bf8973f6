"""A connection that is there whenever the broker is (docs/decisions/0004-reconnect-policy.md).

When it is lost it comes back by itself, subscribes again, says again what the broker should retain, and then calls
back whoever asked to know. Publishing waits meanwhile; subscribers go on iterating.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

from broker.backoff import LONGEST_S, delays
from broker.connection import Connection
from broker.dial import ConnectionSettings
from broker.errors import (
    BrokerRefusedError,
    BrokerUnfitError,
    BrokerUnreachableError,
    BusClosedError,
    ConnectionLostError,
    PublishRefusedError,
    SubscribeRefusedError,
    TooLargeError,
)
from broker.inbox import Inbox
from broker.message import FIRST_FAILURE, Accepted, Incoming, Outgoing
from broker.rejections import Rejections
from broker.subscriptions import Filter, Subscriptions

_LOG = logging.getLogger(__name__)


class Channel:
    """See the module. `start` and `stop`."""

    def __init__(self, settings: ConnectionSettings, rejections: Rejections) -> None:
        self._settings = settings
        self._rejections = rejections
        self._subscriptions = Subscriptions()
        self._retained: dict[str, Outgoing] = {}
        self._under_way: Counter[str] = Counter()
        """Retained messages that the broker has not accepted yet, by address; nobody asks it of frames."""
        self._callbacks: list[Callable[[], Awaitable[None]]] = []
        self._connection: Connection | None = None
        self._up = asyncio.Event()
        self._up_since = 0.0
        self._keeper: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._rng = random.Random()  # noqa: S311 - jitter, no secret
        self._delays = delays(self._rng)

    @property
    def connected(self) -> bool:
        """There is a connection now."""
        return self._up.is_set() and self._failure is None

    @property
    def max_packet_bytes(self) -> int:
        """The broker's limit for one packet, from the latest connection."""
        return self._connection.max_packet_bytes if self._connection else 0

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call this after each reconnect, when subscriptions and retained messages are back."""
        self._callbacks.append(callback)

    async def start(self, timeout_s: float | None, *, refused_timeout_s: float | None = None) -> None:
        """Connect, and stay connected until `stop`.

        Args:
            timeout_s: how long to try; None keeps trying.
            refused_timeout_s: how long to try while the host answers that nothing listens there; None: as long.

        Raises:
            BrokerUnreachableError: not within that time.
            BrokerRefusedError: the broker does not know these credentials.
            BrokerUnfitError: it lacks what we need.
        """
        problem = "no answer"
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    try:
                        self._is_up(await self._open())
                        break
                    except ConnectionLostError as error:
                        problem = str(error)
                        _LOG.info("no broker at %s yet: %s", self._settings.address, problem)
                        refused = isinstance(error.__cause__, ConnectionRefusedError)
                        if refused and refused_timeout_s is not None and loop.time() - started >= refused_timeout_s:
                            raise BrokerUnreachableError(self._settings.address, refused_timeout_s, problem) from None
                    await asyncio.sleep(next(self._delays))
        except TimeoutError:
            raise BrokerUnreachableError(self._settings.address, timeout_s or 0.0, problem) from None
        self._keeper = asyncio.create_task(self._keep(), name=f"bus {self._settings.client_id}")

    async def stop(self) -> None:
        """Disconnect in good order: no will is published. Whoever still waits here is told."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        self._fail(BusClosedError())
        if self._connection is not None:
            await self._connection.close()

    async def publish(self, message: Outgoing, *, timeout_s: float, remember: bool = False) -> Accepted:
        """Send; with QoS 1 until the broker has it, over lost connections too.

        With `remember` the message is said again after each reconnect, until another one takes its place or `forget`.

        Raises:
            TooLargeError: this broker does not pass so much.
            PublishRefusedError: the broker refused it.
            BrokerUnreachableError: not within `timeout_s`.
        """
        if remember:
            self._retained[message.address] = message
        if message.retain:
            self._under_way[message.address] += 1
        try:
            # Most of the time it can leave at once; what a time limit takes to set up comes after that.
            answer = self._send_now(message)
            async with asyncio.timeout(timeout_s):
                accepted = await self._until_accepted(message, answer, remember=remember)
        except TimeoutError:
            raise BrokerUnreachableError(self._settings.address, timeout_s, "it did not accept a message") from None
        except TooLargeError:
            self.forget(message)
            raise
        finally:
            if message.retain:
                self._under_way[message.address] -= 1
                if not self._under_way[message.address]:
                    del self._under_way[message.address]
        if accepted.reason >= FIRST_FAILURE:
            self.forget(message)
            raise PublishRefusedError(message.address, accepted.reason)
        return accepted

    def forget(self, message: Outgoing) -> None:
        """Do not say this again after a reconnect."""
        if self._retained.get(message.address) is message:
            del self._retained[message.address]

    def remembered(self, address: str) -> bytes | None:
        """The payload that is said again after a reconnect."""
        message = self._retained.get(address)
        return message.payload if message is not None else None

    def is_under_way(self, address: str) -> bool:
        """Whether something is being published there, to be retained, that the broker has not accepted yet."""
        return self._under_way[address] > 0

    async def say_again(self, address: str, *, timeout_s: float) -> None:
        """Publish what is remembered for this address, if anything is; see `publish`."""
        message = self._retained.get(address)
        if message is not None:
            await self.publish(message, timeout_s=timeout_s, remember=True)

    @contextlib.asynccontextmanager
    async def listen(self, pattern: str, *, timeout_s: float) -> AsyncIterator[Inbox]:
        """An inbox of everything that matches `pattern`; subscribed when entered.

        Raises:
            SubscribeRefusedError: the broker refused.
            BrokerUnreachableError: not within `timeout_s`.
        """
        inbox = Inbox(pattern, self._rejections, bounded=not self._settings.manual_ack)
        entry = self._subscriptions.add(inbox)
        try:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._subscribe_until_accepted(entry, inbox)
            except TimeoutError:
                problem = "it did not accept a subscription"
                raise BrokerUnreachableError(self._settings.address, timeout_s, problem) from None
            yield inbox
        finally:
            if self._subscriptions.remove(inbox) and self._connection is not None:
                self._connection.unsubscribe(pattern)

    def _send_now(self, message: Outgoing) -> asyncio.Future[Accepted] | None:
        connection = self._connection
        if connection is None or not self.connected or connection.lost.done() or not connection.has_room:
            return None
        try:
            return connection.send(message)
        except ConnectionLostError:
            return None

    async def _until_accepted(
        self, message: Outgoing, answer: asyncio.Future[Accepted] | None, *, remember: bool
    ) -> Accepted:
        while True:
            with contextlib.suppress(ConnectionLostError):
                if answer is not None:
                    return await answer
                connection = await self._available()
                if remember and self._retained.get(message.address) is not message:
                    # Something newer has been said there while this one waited: it must not come after it.
                    return Accepted(0, 0.0)
                await connection.room()
                answer = connection.send(message)
                continue
            answer = None

    async def _subscribe_until_accepted(self, entry: Filter, inbox: Inbox) -> None:
        while True:
            connection = await self._available()
            identifier = self._subscriptions.identify(entry, inbox)
            with contextlib.suppress(ConnectionLostError):
                return await connection.subscribe(entry.pattern, identifier)

    async def _available(self) -> Connection:
        while True:
            await self._up.wait()
            if self._failure is not None:
                raise self._failure
            if self._connection is not None and not self._connection.lost.done():
                return self._connection
            # Lost, and the keeper has not been told yet.
            self._up.clear()

    async def _open(self) -> Connection:
        connection = Connection(self._settings, self._dispatch)
        await connection.open()
        return connection

    def _is_up(self, connection: Connection) -> None:
        self._connection = connection
        self._up_since = time.monotonic()
        self._up.set()

    def _dispatch(self, message: Incoming) -> None:
        listeners = self._subscriptions.listeners(message)
        if listeners and self._settings.manual_ack and not message.packet.qos:
            # Nothing holds the next one back until this one is dealt with, so nothing would bound what waits here.
            self._rejections.add("qos", message.packet.address, "frames are sent with QoS 1")
            return
        for inbox in listeners:
            inbox.put(message)
        if not listeners and self._settings.manual_ack:
            message.ack()

    async def _keep(self) -> None:
        back = False
        try:
            while self._connection is not None:
                reason = await self._until_lost(self._connection, call_back=back)
                self._up.clear()
                _LOG.warning("lost the broker at %s: %s; reconnecting", self._settings.address, reason)
                await self._reconnect()
                _LOG.warning("the broker at %s is back", self._settings.address)
                back = True
        except Exception as error:
            # A callback of somebody's has failed. It has nobody to tell; all who wait here hear of it instead, and end.
            _LOG.exception("a reconnect callback failed")
            self._fail(error)

    async def _until_lost(self, connection: Connection, *, call_back: bool) -> str:
        callbacks = asyncio.create_task(self._call_back()) if call_back else None
        waiting: set[asyncio.Future[str] | asyncio.Task[None]] = {connection.lost}
        try:
            if callbacks is not None:
                await asyncio.wait({*waiting, callbacks}, return_when=asyncio.FIRST_COMPLETED)
                if callbacks.done():
                    callbacks.result()
            await asyncio.wait(waiting)
        finally:
            if callbacks is not None:
                callbacks.cancel()
        return connection.lost.result()

    async def _call_back(self) -> None:
        for callback in self._callbacks:
            try:
                await callback()
            except BrokerUnreachableError as error:
                # Lost again; it will be called again.
                _LOG.info("a reconnect callback did not get through: %s", error)

    async def _reconnect(self) -> None:
        if time.monotonic() - self._up_since > LONGEST_S:
            self._delays = delays(self._rng)
        refusals: set[str] = set()
        for delay in self._delays:
            await asyncio.sleep(delay)
            try:
                connection = await self._open()
                try:
                    await self._restore(connection)
                except BaseException:
                    await connection.close()
                    raise
            except ConnectionLostError as error:
                _LOG.info("no broker at %s yet: %s", self._settings.address, error)
            except (BrokerRefusedError, BrokerUnfitError) as error:
                # Trying on may help: somebody may be changing its users. Without this line nobody would know to.
                if str(error) not in refusals:
                    _LOG.warning("%s. Trying on", error)
                refusals.add(str(error))
            else:
                self._is_up(connection)
                return

    async def _restore(self, connection: Connection) -> None:
        for entry in self._subscriptions:
            try:
                await connection.subscribe(entry.pattern, self._subscriptions.identify(entry, None))
            except SubscribeRefusedError as error:
                for inbox in entry.inboxes:
                    inbox.fail(error)
        for message in list(self._retained.values()):
            if self._retained.get(message.address) is not message:
                continue
            try:
                accepted = await connection.publish(message)
            except TooLargeError as error:
                _LOG.error("retained state is not on the broker any more: %s", error)
                continue
            if accepted.reason >= FIRST_FAILURE:
                _LOG.error(
                    "retained state is not on the broker: %s", PublishRefusedError(message.address, accepted.reason)
                )

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        for entry in self._subscriptions:
            for inbox in entry.inboxes:
                inbox.fail(self._failure)
        self._up.set()
