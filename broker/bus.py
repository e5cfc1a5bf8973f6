"""The bus as services see it: typed messages on named topics, and frames that are acknowledged when they are done."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Literal, TypeVar

from broker.address import BadAddressError, BrokerAddress
from broker.addressed import address_of, outgoing, pattern_of
from broker.channels import Channels
from broker.crowd import Crowd
from broker.delivery import Change, Delivery, FrameDelivery, RawDelivery, Stream, Will
from broker.errors import (
    BrokerRefusedError,
    BrokerUnfitError,
    BrokerUnreachableError,
    BusError,
    PublishRefusedError,
    SubscribeRefusedError,
    TooLargeError,
)
from broker.message import NO_SUBSCRIBER, Incoming, Outgoing
from broker.packet import Envelope
from schemas.frame import FRAME_CONTENT_TYPE, Frame
from schemas.topics import Topic

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


def _crowd(topic: Topic[Any], parameters: Mapping[str, Any]) -> Crowd | None:
    """Of state that comes from addresses which others name."""
    return Crowd() if topic.retained and set(topic.parameters) - parameters.keys() else None


class Bus(Channels):
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

    @property
    def rejected(self) -> Counter[str]:
        """Messages dropped at this edge, by reason: malformed, oversized, truncated, address, crowded, overflow, ..."""
        return self._rejections.counts

    def full_address(self, topic: Topic[Any], **parameters: str | int) -> str:
        """The whole MQTT topic, root included (what `response_address` wants)."""
        return address_of(self.root, topic, tuple(parameters.items()))

    @contextlib.asynccontextmanager
    async def subscribe(self, topic: Topic[M], **parameters: str | int) -> AsyncIterator[AsyncIterator[Delivery[M]]]:
        """Messages of a topic; parameters that are not given match anything. Subscribed when entered.

        State comes first, marked `retained`; after a reconnect it comes again, as it is then. Clearings are left out.
        """
        async with self._entered().listen(pattern_of(self.root, topic, parameters), timeout_s=_TIMEOUT_S) as inbox:
            crowd = _crowd(topic, parameters)
            yield Stream(inbox, lambda incoming: self._edge.delivery(topic, incoming, crowd))

    @contextlib.asynccontextmanager
    async def watch(self, topic: Topic[M], **parameters: str | int) -> AsyncIterator[AsyncIterator[Change[M]]]:
        """As `subscribe`, and a retained message that is removed comes as a change to None.

        What was removed while the connection was down is not noticed.
        """
        async with self._entered().listen(pattern_of(self.root, topic, parameters), timeout_s=_TIMEOUT_S) as inbox:
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
        said = outgoing(self.root, topic, message, parameters)
        remember = remember and topic.retained
        accepted = await self._entered().publish(said, timeout_s=timeout_s, remember=remember)
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
        found = await self._retained(f"{self.root}/{pattern}", timeout_s)
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
        found = await self._retained(pattern_of(self.root, topic, parameters), timeout_s)
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
            channel.listen(pattern_of(self.root, topic, parameters), timeout_s=_TIMEOUT_S) as inbox,
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
        address = address_of(self.root, topic, tuple(parameters.items()))
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
