"""The bus as services see it: typed messages on named topics, and frames that are acknowledged when they are done."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker.address import BrokerAddress
from broker.channel import NO_SUBSCRIBER, Channel
from broker.connection import ConnectionSettings, Incoming, Outgoing
from broker.delivery import Delivery, FrameDelivery, RawDelivery, Will
from broker.snapshot import retained_now
from schemas.base import Message, check_name
from schemas.frame import Frame
from schemas.topics import ROOT, BadMessageError, Topic

_LOG = logging.getLogger(__name__)
M = TypeVar("M", bound=Message)

FRAME_CONTENT_TYPE: Final = "application/x-stageline-frame"
_CONTENT_TYPES: Final = {"json": "application/json", "msgpack": "application/msgpack", "frame": FRAME_CONTENT_TYPE}
_TIMEOUT_S: Final = 30.0


class Bus:
    """See `__init__`; use as an async context manager."""

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
    ) -> None:
        self.address = BrokerAddress.parse(address) if isinstance(address, str) else address
        self.name = check_name("client of the bus", name)
        self.root = root
        self.rejected: Counter[str] = Counter()
        self._will = will
        self._keepalive_s = keepalive_s
        self._receive_maximum = receive_maximum
        self._connect_timeout_s = connect_timeout_s
        self._control: Channel | None = None
        self._data: Channel | None = None
        self._data_lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        will = None
        if self._will is not None:
            topic = self._will.topic
            will = self._outgoing(topic, topic.encode(self._will.message), self._will.parameters)
        control = Channel(
            ConnectionSettings(self.address, self._client_id("control"), self._keepalive_s, will=will), self.rejected
        )
        await control.start(self._connect_timeout_s)
        self._control = control
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in (self._data, self._control):
            if channel is not None:
                await channel.stop()
        self._data = self._control = None

    @property
    def connected(self) -> bool:
        """The control connection is up now."""
        return self._control is not None and self._control.connected

    @property
    def max_packet_bytes(self) -> int:
        """The largest packet that the broker passes."""
        return self._entered().max_packet_bytes

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call this after each reconnect (not the first connect), when subscriptions and retained state are back."""
        self._entered().on_reconnect(callback)

    @contextlib.asynccontextmanager
    async def subscribe(self, topic: Topic[M], **parameters: str | int) -> AsyncIterator[AsyncIterator[Delivery[M]]]:
        """Messages of a topic; parameters that are not given match any. Subscribed when entered."""
        pattern = f"{self.root}/{topic.filter(**parameters)}"
        async with self._entered().listen(pattern, timeout_s=_TIMEOUT_S) as inbox:

            async def deliveries() -> AsyncIterator[Delivery[M]]:
                while True:
                    delivery = self._decode(topic, await inbox.get())
                    if delivery is not None:
                        yield delivery

            yield deliveries()

    async def publish(
        self,
        topic: Topic[M],
        message: M,
        *,
        timeout_s: float = _TIMEOUT_S,
        remember: bool = True,
        **parameters: str | int,
    ) -> bool:
        """Publish with QoS 1 and wait for the broker's word; retained when the topic is."""
        outgoing = self._outgoing(topic, topic.encode(message), parameters)
        accepted = await self._entered().publish(outgoing, timeout_s=timeout_s, remember=topic.retained and remember)
        return accepted.reason != NO_SUBSCRIBER

    async def clear(self, topic: Topic[M], *, timeout_s: float = _TIMEOUT_S, **parameters: str | int) -> None:
        """Remove a retained message; subscribers see nothing."""
        outgoing = self._outgoing(topic, b"", parameters)
        control = self._entered()
        control.forget_address(outgoing.address)
        await control.publish(outgoing, timeout_s=timeout_s)

    async def snapshot(
        self, topic: Topic[M], *, timeout_s: float = _TIMEOUT_S, **parameters: str | int
    ) -> list[Delivery[M]]:
        """The retained messages that are there now."""
        pattern = f"{self.root}/{topic.filter(**parameters)}"
        settings = ConnectionSettings(self.address, self._client_id("snapshot"), self._keepalive_s)
        found = await retained_now(settings, pattern, timeout_s=timeout_s)
        return [delivery for incoming in found if (delivery := self._decode(topic, incoming)) is not None]

    async def publish_bytes(
        self, address: str, payload: bytes, *, qos: Literal[0, 1] = 1, timeout_s: float = _TIMEOUT_S
    ) -> float:
        """Send raw bytes to an address below the root; time until the broker's PUBACK, s (0 with QoS 0)."""
        outgoing = Outgoing(f"{self.root}/{address}", payload, qos)
        return (await self._entered().publish(outgoing, timeout_s=timeout_s)).seconds

    @contextlib.asynccontextmanager
    async def subscribe_bytes(self, pattern: str) -> AsyncIterator[AsyncIterator[RawDelivery]]:
        """Whatever matches a filter below the root, as bytes."""
        async with self._entered().listen(f"{self.root}/{pattern}", timeout_s=_TIMEOUT_S) as inbox:

            async def deliveries() -> AsyncIterator[RawDelivery]:
                while True:
                    incoming = await inbox.get()
                    address = incoming.address.removeprefix(f"{self.root}/")
                    yield RawDelivery(address, incoming.payload, incoming.retained, incoming.received_at)

            yield deliveries()

    @contextlib.asynccontextmanager
    async def frames(self, topic: Topic[Frame], **parameters: str | int) -> AsyncIterator[AsyncIterator[FrameDelivery]]:
        """Frames of a topic, over the data connection. Each must be acknowledged."""
        channel = await self._data_channel()
        pattern = f"{self.root}/{topic.filter(**parameters)}"
        async with channel.listen(pattern, timeout_s=_TIMEOUT_S) as inbox:

            async def deliveries() -> AsyncIterator[FrameDelivery]:
                while True:
                    incoming = await inbox.get()
                    delivery = self._decode(topic, incoming)
                    if delivery is None:
                        incoming.connection.ack(incoming.mid)
                    else:
                        yield FrameDelivery.of(delivery, incoming)

            try:
                yield deliveries()
            finally:
                for incoming in inbox.drain():
                    incoming.connection.ack(incoming.mid)

    async def send_frame(
        self,
        topic: Topic[Frame],
        payload: bytes,
        *,
        expiry_s: int,
        correlation: str,
        response_address: str | None = None,
        traceparent: str | None = None,
        timeout_s: float = _TIMEOUT_S,
        **parameters: str | int,
    ) -> bool:
        """Send an encoded frame; False when nobody is subscribed there."""
        channel = await self._data_channel()
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = FRAME_CONTENT_TYPE
        properties.MessageExpiryInterval = max(1, expiry_s)
        properties.CorrelationData = correlation.encode()
        if response_address is not None:
            properties.ResponseTopic = response_address
        if traceparent is not None:
            properties.UserProperty = ("traceparent", traceparent)
        message = Outgoing(f"{self.root}/{topic.address(**parameters)}", payload, properties=properties)
        accepted = await channel.publish(message, timeout_s=timeout_s)
        return accepted.reason != NO_SUBSCRIBER

    def bulk(self) -> AbstractAsyncContextManager[Bus]:
        """A further connection for blobs and probes, so that they delay neither control messages nor frames."""
        return Bus(self.address, name=self.name, root=self.root, connect_timeout_s=self._connect_timeout_s)

    def full_address(self, topic: Topic[Any], **parameters: str | int) -> str:
        """The whole MQTT topic, root included."""
        return f"{self.root}/{topic.address(**parameters)}"

    def _outgoing(self, topic: Topic[Any], payload: bytes, parameters: dict[str, Any]) -> Outgoing:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = _CONTENT_TYPES[topic.encoding]
        address = f"{self.root}/{topic.address(**parameters)}"
        return Outgoing(address, payload, retain=topic.retained, properties=properties)

    def _decode(self, topic: Topic[M], incoming: Incoming) -> Delivery[M] | None:
        if not incoming.payload:
            return None
        address = incoming.address.removeprefix(f"{self.root}/")
        parameters = topic.parse(address)
        if parameters is None:
            return None
        try:
            message = topic.decode(incoming.payload)
        except BadMessageError as error:
            self.rejected[error.reason] += 1
            _LOG.warning("dropped a message on %s: %s", incoming.address, error)
            return None
        return Delivery(message, parameters, incoming.retained, address)

    def _client_id(self, part: str) -> str:
        return f"{self.name}-{part}-{secrets.token_hex(4)}"

    def _entered(self) -> Channel:
        if self._control is None:
            raise RuntimeError("the bus is not connected: use it inside `async with Bus(...)`")
        return self._control

    async def _data_channel(self) -> Channel:
        self._entered()
        async with self._data_lock:
            if self._data is None:
                settings = ConnectionSettings(
                    self.address,
                    self._client_id("data"),
                    self._keepalive_s,
                    receive_maximum=self._receive_maximum,
                    manual_ack=True,
                )
                channel = Channel(settings, self.rejected)
                await channel.start(self._connect_timeout_s)
                self._data = channel
            return self._data
