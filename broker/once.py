"""Retained messages that no listener hears twice, whatever connection or process breaks meanwhile.

A publisher that never learns whether its message arrived must either risk saying it twice or not at all. A retained
message can be looked up: after any doubt this one asks the broker what it retains before it speaks again. It connects
under the same client id each time, so what the earlier connection had still under way is settled before it asks.

Two things undo the promise: a reader that clears a message within the moment of doubt, and a broker that forgets.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

from broker.address import BrokerAddress
from broker.backoff import delays
from broker.connection import Connection
from broker.dial import ConnectionSettings
from broker.errors import BrokerUnreachableError, ConnectionLostError, PublishRefusedError
from broker.message import FIRST_FAILURE, Incoming, Outgoing
from broker.packet import Envelope
from broker.snapshot import retained_now
from schemas.root import ROOT
from schemas.topics import Topic

_KEEPALIVE_S: Final = 5
_LOOKUP_TIMEOUT_S: Final = 30.0
_LOG = logging.getLogger(__name__)


class OncePublisher:
    """Use as an async context manager; `publish` may be called by several at a time.

    Args:
        address: where the broker is.
        client_id: the same for every life of this publisher, and nobody else's.
        root: what all addresses are below.
    """

    def __init__(self, address: BrokerAddress, client_id: str, *, root: str = ROOT) -> None:
        self._settings = ConnectionSettings(address, client_id, _KEEPALIVE_S)
        self._root = root
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._trouble = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def publish(
        self, topic: Topic[Any], message: Any, *, expiry_s: int | None, doubted: bool = False, **parameters: str
    ) -> None:
        """Have the broker retain this; tries for as long as it is away, or somebody else has our client id.

        Args:
            topic: a retained one; `parameters` name the address, which is used for this one message.
            message: what it carries.
            expiry_s: when the broker may drop it; None: never.
            doubted: an earlier life of this publisher may have published it already.

        Raises:
            PublishRefusedError, BrokerRefusedError, TooLargeError: the broker will not take it.
        """
        address = f"{self._root}/{topic.address(**parameters)}"
        outgoing = Outgoing(
            address, topic.encode(message), retain=True, envelope=Envelope("application/json", expiry_s)
        )
        waits = delays(random.Random())  # noqa: S311  jitter, no secret
        while True:
            connection = await self._connected(waits)
            try:
                if doubted and await self._is_there(address):
                    return
                doubted = True
                accepted = await connection.publish(outgoing)
            except (ConnectionLostError, BrokerUnreachableError) as error:
                await self._wait(error, waits)
                continue
            self._trouble = ""
            if accepted.reason >= FIRST_FAILURE:
                raise PublishRefusedError(address, accepted.reason)
            return

    async def _connected(self, waits: Iterator[float]) -> Connection:
        async with self._connecting:
            while self._connection is None or self._connection.lost.done():
                connection = Connection(self._settings, _ignore)
                try:
                    await connection.open()
                except ConnectionLostError as error:
                    await self._wait(error, waits)
                else:
                    self._connection = connection
            return self._connection

    async def _wait(self, error: Exception, waits: Iterator[float]) -> None:
        """Longer each time; what is wrong is said once, and again when it is something else."""
        if str(error) != self._trouble:
            self._trouble = str(error)
            _LOG.warning("%s cannot publish, and goes on trying: %s", self._settings.client_id, error)
        await asyncio.sleep(next(waits))

    async def _is_there(self, address: str) -> bool:
        look = f"{self._settings.client_id}-{secrets.token_hex(4)}"
        settings = ConnectionSettings(self._settings.address, look, _KEEPALIVE_S)
        return bool(await retained_now(settings, address, timeout_s=_LOOKUP_TIMEOUT_S))


def _ignore(_message: Incoming) -> None:
    """It subscribes to nothing."""
