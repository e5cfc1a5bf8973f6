"""Publishing and listening that outlast connections (docs/decisions/0004-reconnect-policy.md).

After each reconnect a channel subscribes again, and says again what the broker should retain. Publishing waits
meanwhile; subscribers go on iterating.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator

from broker.connection import Connection
from broker.dial import ConnectionSettings
from broker.errors import (
    BrokerUnreachableError,
    ConnectionLostError,
    PublishRefusedError,
    SubscribeRefusedError,
    TooLargeError,
)
from broker.inbox import Inbox
from broker.kept_connection import KeptConnection
from broker.message import FIRST_FAILURE, Accepted, Incoming, Outgoing
from broker.rejections import Rejections
from broker.subscriptions import Filter, Subscriptions

_LOG = logging.getLogger(__name__)


class Channel(KeptConnection):
    """See the module. `start` and `stop`."""

    def __init__(self, settings: ConnectionSettings, rejections: Rejections) -> None:
        super().__init__(settings)
        self._rejections = rejections
        self._subscriptions = Subscriptions()
        self._retained: dict[str, Outgoing] = {}
        self._under_way: Counter[str] = Counter()
        """Retained messages that the broker has not accepted yet, by address; nobody asks it of frames."""

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

    def _end_listening(self, failure: Exception) -> None:
        for entry in self._subscriptions:
            for inbox in entry.inboxes:
                inbox.fail(failure)
