"""A connection that is there whenever the broker is (docs/decisions/0004-reconnect-policy.md).

When it is lost another one takes its place by itself; once what was there is restored it may be used, and whoever asked
to know is called back.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from broker.backoff import LONGEST_S, delays
from broker.connection import Connection
from broker.dial import ConnectionSettings
from broker.errors import (
    BrokerRefusedError,
    BrokerUnfitError,
    BrokerUnreachableError,
    BusClosedError,
    ConnectionLostError,
)
from broker.message import Incoming

_LOG = logging.getLogger(__name__)


class KeptConnection(ABC):
    """See the module. `start` and `stop`.

    What is sent and heard over it is for the class that derives from this one. Inherited, not held: a call through a
    member would cost every frame.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._callbacks: list[Callable[[], Awaitable[None]]] = []
        self._connection: Connection | None = None
        self._up = asyncio.Event()
        self._up_since = 0.0
        self._keeper: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._rng = random.Random()  # noqa: S311 - jitter, no secret
        self._delays = delays(self._rng)

    @abstractmethod
    def _dispatch(self, message: Incoming) -> None:
        """Take in a message that has come."""

    @abstractmethod
    async def _restore(self, connection: Connection) -> None:
        """Bring a new connection to where the lost one was, before anybody else uses it."""

    @abstractmethod
    def _end_listening(self, failure: Exception) -> None:
        """Nothing will come any more: tell whoever listens."""

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

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._end_listening(self._failure)
        self._up.set()
