"""The bus as services see it: typed messages on named topics, and frames that are acknowledged when they are done."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar

from broker.address import BadAddressError, BrokerAddress
from broker.channel import Channel
from broker.crowd import Crowd
from broker.delivery import Change, Delivery, FrameDelivery, RawDelivery, Stream, Will
from broker.dial import ConnectionSettings
from broker.edge import Edge
from broker.errors import (
    BrokerRefusedError,
    BrokerUnfitError,
    BrokerUnreachableError,
    BusError,
    PublishRefusedError,
    SubscribeRefusedError,
    TooLargeError,
)
from broker.heap import keep_freed_memory
from broker.message import NO_SUBSCRIBER, Incoming, Outgoing
from broker.packet import Envelope
from broker.rejections import Rejections
from broker.snapshot import retained_now
from schemas.base import check_name
from schemas.frame import FRAME_CONTENT_TYPE, Frame
from schemas.topics import ROOT, Topic

__all__ = [
    "BadAddressError",
    "BrokerAddress",
    "BrokerRefusedError",
    "BrokerUnfitError",
    "BrokerUnreachableError",
    "Bus",
    "BusError",
    "Change",
    "Delivery",
    "FrameDelivery",
    "PublishRefusedError",
    "RawDelivery",
    "SubscribeRefusedError",
    "TooLargeError",
    "Will",
]

M = TypeVar("M")
_TIMEOUT_S: Final = 30.0


@lru_cache(maxsize=512)
def _address(root: str, topic: Topic[Any], parameters: tuple[tuple[str, str | int], ...]) -> str:
    return f"{root}/{topic.address(**dict(parameters))}"


def _crowd(topic: Topic[Any], parameters: Mapping[str, Any]) -> Crowd | None:
    """Of state that comes from addresses which others name."""
    return Crowd() if topic.retained and set(topic.parameters) - parameters.keys() else None


class Bus:
    """A client of the broker: a connection for control messages and, once used, one for all frames out and one for
    each subscription to frames.

    Args:
        address: where the broker is.
        name: who we are, in the broker's log; with a random suffix it is the client id.
        root: what all addresses are below.
        will: what the broker says for us when we vanish.
        keepalive_s: the broker notices after 1.5 times this that we have vanished.
        receive_maximum: frames of one subscription that the broker may send before the first is acknowledged.
        connect_timeout_s: for the first connection; None keeps trying. Later ones are always retried.
        refused_timeout_s: the same while the host says that nothing listens there, for people who wait; None: as long.

    Use as an async context manager. Entering raises BrokerUnreachableError, BrokerRefusedError or BrokerUnfitError.
    Leaving disconnects in good order, so the will is *not* published: publish `offline` first.
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

    @property
    def rejected(self) -> Counter[str]:
        """Messages dropped at this edge, by reason: malformed, oversized, truncated, address, crowded, overflow, ..."""
        return self._rejections.counts

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call this after each reconnect (not the first connect), when subscriptions and retained state are back.

        It may be cancelled, and called again, when the connection is lost meanwhile.
        """
        self._entered().on_reconnect(callback)

    def full_address(self, topic: Topic[Any], **parameters: str | int) -> str:
        """The whole MQTT topic, root included (what `response_address` wants)."""
        return _address(self.root, topic, tuple(parameters.items()))

    @contextlib.asynccontextmanager
    async def subscribe(self, topic: Topic[M], **parameters: str | int) -> AsyncIterator[AsyncIterator[Delivery[M]]]:
        """Messages of a topic; parameters that are not given match anything. Subscribed when entered.

        State comes first, marked `retained`; after a reconnect it comes again, as it is then. Clearings are left out.
        """
        async with self._entered().listen(self._pattern(topic, parameters), timeout_s=_TIMEOUT_S) as inbox:
            crowd = _crowd(topic, parameters)
            yield Stream(inbox, lambda incoming: self._edge.delivery(topic, incoming, crowd))

    @contextlib.asynccontextmanager
    async def watch(self, topic: Topic[M], **parameters: str | int) -> AsyncIterator[AsyncIterator[Change[M]]]:
        """As `subscribe`, and a retained message that is removed comes as a change to None.

        What was removed while the connection was down is not noticed.
        """
        async with self._entered().listen(self._pattern(topic, parameters), timeout_s=_TIMEOUT_S) as inbox:
            crowd = _crowd(topic, parameters)
            yield Stream(inbox, lambda incoming: self._edge.change(topic, incoming, crowd))

    async def publish(
        self,
        topic: Topic[M],
        message: M,
        *,
        timeout_s: float = _TIMEOUT_S,
        remember: bool = True,
        **parameters: str | int,
    ) -> bool:
        """Publish (QoS 1, retained when the topic is) and wait for the broker's word. False: nobody is subscribed.

        A retained message is remembered and published again after a reconnect, unless `remember` is False.

        Raises:
            TooLargeError, PublishRefusedError, BrokerUnreachableError: see each; the last after `timeout_s`.
        """
        outgoing = self._outgoing(topic, message, parameters)
        remember = remember and topic.retained
        accepted = await self._entered().publish(outgoing, timeout_s=timeout_s, remember=remember)
        return accepted.reason != NO_SUBSCRIBER

    async def clear(self, topic: Topic[Any], *, timeout_s: float = _TIMEOUT_S, **parameters: str | int) -> None:
        """Remove a retained message; those who `watch` it see None."""
        control = self._entered()
        nothing = Outgoing(self.full_address(topic, **parameters), b"", retain=True)
        # Remembered while it is under way, so that what was said before is not said again instead.
        await control.publish(nothing, timeout_s=timeout_s, remember=True)
        control.forget(nothing)

    async def clear_below(self, pattern: str, *, timeout_s: float = _TIMEOUT_S) -> list[str]:
        """Remove whatever is retained below the root and matches, also what no topic of ours could be.

        Returns:
            The addresses that were cleared, below the root.
        """
        control = self._entered()
        settings = ConnectionSettings(self.address, self._client_id("snapshot"), self._keepalive_s)
        found = await retained_now(settings, f"{self.root}/{pattern}", timeout_s=timeout_s)
        addresses = sorted({incoming.packet.address for incoming in found})
        for address in addresses:
            await control.publish(Outgoing(address, b"", retain=True), timeout_s=timeout_s)
        return [address.removeprefix(f"{self.root}/") for address in addresses]

    def said(self, topic: Topic[Any], **parameters: str | int) -> bytes | None:
        """The payload that we said last on a retained topic and would say again after a reconnect."""
        return self._entered().remembered(self.full_address(topic, **parameters))

    def is_saying(self, topic: Topic[Any], **parameters: str | int) -> bool:
        """Whether the broker has not accepted yet what we say there now; who listens may still hear what was before."""
        return self._entered().is_under_way(self.full_address(topic, **parameters))

    async def say_again(self, topic: Topic[Any], *, timeout_s: float = _TIMEOUT_S, **parameters: str | int) -> None:
        """Publish what we said last on a retained topic, for a broker that holds something else; see `publish`."""
        address = self.full_address(topic, **parameters)
        await self._entered().say_again(address, timeout_s=timeout_s)

    def dropped(self, reason: str, address: str, detail: str) -> None:
        """Count, and log now and then, what a subscriber could do nothing with; `reason` is one of a few words."""
        self._rejections.add(reason, address, detail)

    async def snapshot(
        self, topic: Topic[M], *, timeout_s: float = _TIMEOUT_S, **parameters: str | int
    ) -> list[Delivery[M]]:
        """All messages of a topic that are retained now."""
        settings = ConnectionSettings(self.address, self._client_id("snapshot"), self._keepalive_s)
        found = await retained_now(settings, self._pattern(topic, parameters), timeout_s=timeout_s)
        crowd = _crowd(topic, parameters)
        deliveries = (self._edge.delivery(topic, incoming, crowd) for incoming in found)
        return [delivery for delivery in deliveries if delivery is not None]

    @contextlib.asynccontextmanager
    async def frames(self, topic: Topic[Frame], **parameters: str | int) -> AsyncIterator[AsyncIterator[FrameDelivery]]:
        """Frames of a topic, on a connection of their own; at most `receive_maximum` wait to be acknowledged.

        Leaving acknowledges what is left: whoever holds the request will send it again elsewhere.

        Raises:
            BrokerUnreachableError, BrokerRefusedError: see each; entering connects as entering the bus does.
            SubscribeRefusedError: the broker refused.
        """
        unacknowledged: dict[int, Incoming] = {}

        def read(incoming: Incoming) -> FrameDelivery | None:
            def ack() -> None:
                if unacknowledged.pop(id(incoming), None) is not None:
                    incoming.ack()

            unacknowledged[id(incoming)] = incoming
            return self._edge.frame(topic, incoming, ack)

        async with (
            self._intake() as channel,
            channel.listen(self._pattern(topic, parameters), timeout_s=_TIMEOUT_S) as inbox,
        ):
            try:
                yield Stream(inbox, read)
            finally:
                for incoming in (*unacknowledged.values(), *inbox.drain()):
                    incoming.ack()
                unacknowledged.clear()

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
        """Send an encoded frame, on a connection of its own. False: nobody is subscribed there, so it is gone.

        Args:
            topic: where to; `parameters` name the address.
            payload: from `schemas.frame.encode_frame`.
            expiry_s: the broker drops it when it has waited that long.
            correlation: the request id.
            response_address: whole topic for the answer.
            traceparent: W3C trace context.
            timeout_s: how long to try.

        Raises:
            TooLargeError, PublishRefusedError, BrokerUnreachableError: see each; the last after `timeout_s`.
        """
        channel = self._frames_out or await self._outlet()
        envelope = Envelope(
            FRAME_CONTENT_TYPE, max(1, expiry_s), correlation.encode(), response_address, traceparent or None
        )
        address = _address(self.root, topic, tuple(parameters.items()))
        message = Outgoing(address, payload, envelope=envelope)
        accepted = await channel.publish(message, timeout_s=timeout_s)
        return accepted.reason != NO_SUBSCRIBER

    @contextlib.asynccontextmanager
    async def subscribe_bytes(self, pattern: str) -> AsyncIterator[AsyncIterator[RawDelivery]]:
        """Whatever matches a filter below the root, as bytes; for probes. At most as long as a control message."""
        async with self._entered().listen(f"{self.root}/{pattern}", timeout_s=_TIMEOUT_S) as inbox:
            yield Stream(inbox, self._edge.raw)

    async def publish_bytes(
        self, address: str, payload: bytes, *, qos: Literal[0, 1] = 1, timeout_s: float = _TIMEOUT_S
    ) -> float:
        """Send bytes to an address below the root; returns the time to the broker's PUBACK, s (0 with QoS 0)."""
        message = Outgoing(f"{self.root}/{address}", payload, qos)
        return (await self._entered().publish(message, timeout_s=timeout_s)).seconds

    @contextlib.asynccontextmanager
    async def bulk(self) -> AsyncIterator[Bus]:
        """A further connection, for blobs and probes: they delay neither control messages nor frames."""
        bulk = Bus(
            self.address,
            name=self.name,
            root=self.root,
            keepalive_s=self._keepalive_s,
            connect_timeout_s=self._connect_timeout_s,
        )
        bulk._rejections, bulk._edge = self._rejections, self._edge
        async with bulk:
            yield bulk

    def _pattern(self, topic: Topic[Any], parameters: dict[str, str | int]) -> str:
        return f"{self.root}/{topic.filter(**parameters)}"

    def _outgoing(self, topic: Topic[Any], message: Any, parameters: dict[str, Any]) -> Outgoing:
        envelope = Envelope("application/msgpack" if topic.encoding == "msgpack" else "application/json")
        address = self.full_address(topic, **parameters)
        return Outgoing(address, topic.encode(message), retain=topic.retained, envelope=envelope)

    def _settings(self, part: Literal["control", "in", "out"]) -> ConnectionSettings:
        will = self._will if part == "control" else None
        return ConnectionSettings(
            self.address,
            self._client_id(part),
            self._keepalive_s,
            receive_maximum=self._receive_maximum if part == "in" else None,
            manual_ack=part == "in",
            will=None if will is None else self._outgoing(will.topic, will.message, dict(will.parameters)),
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
