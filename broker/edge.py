"""The edge of the bus: bytes that nobody vouches for become checked messages, or are counted and dropped."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from broker.crowd import Crowd
from broker.delivery import Change, Delivery, FrameDelivery, RawDelivery
from broker.message import Incoming
from broker.rejections import Rejections
from schemas.base import InvalidNameError, check_name
from schemas.frame import Frame
from schemas.topics import BadMessageError, Topic

M = TypeVar("M")


class Edge:
    """Decodes and checks what arrives below one root."""

    def __init__(self, root: str, rejections: Rejections) -> None:
        self._root = root
        self._rejections = rejections
        self._latest: tuple[Incoming, Topic[Any], Any] | None = None

    def delivery(self, topic: Topic[M], incoming: Incoming, crowd: Crowd | None = None) -> Delivery[M] | None:
        """A message of this topic, or None when it is not one or `crowd` has no room for it."""
        change = self.change(topic, incoming, crowd)
        if change is None or change.message is None:
            return None
        return Delivery(change.message, change.parameters, change.retained, change.address)

    def change(self, topic: Topic[M], incoming: Incoming, crowd: Crowd | None = None) -> Change[M] | None:
        """As `delivery`; an empty payload on a retained topic is a change to None."""
        packet = incoming.packet
        try:
            address, parameters = _read_address(self._root, topic, packet.address)
            cleared = topic.retained and not packet.payload
            message = None if cleared else self._decoded(topic, incoming)
            _check_agrees(message, parameters)
        except BadMessageError as error:
            self._rejections.add(error.reason, packet.address, str(error))
            return None
        if crowd is not None and not crowd.admits(address, len(packet.payload)):
            if message is not None:
                why = f"{crowd}: clear the topics of what is gone (`stageline forget DEVICE` does for a device)"
                self._rejections.add("crowded", packet.address, why)
            return None
        return Change(message, dict(parameters), packet.retained, address)

    def frame(self, topic: Topic[Frame], incoming: Incoming, ack: Callable[[], None]) -> FrameDelivery | None:
        """A frame, opened and not decoded; one that is malformed is acknowledged here."""
        packet = incoming.packet
        parameters: tuple[tuple[str, str], ...] = ()
        try:
            _, parameters = _read_address(self._root, topic, packet.address)
            frame = topic.decode(packet.payload)
        except BadMessageError as error:
            self._rejections.add(error.reason, packet.address, str(error), fields=dict(parameters))
            ack()
            return None
        return FrameDelivery(frame, dict(parameters), packet.expiry_s, incoming.received_at, ack)

    def _decoded(self, topic: Topic[M], incoming: Incoming) -> M:
        """Decoded once for all who listen to the same topic; they take it up one after the other."""
        if self._latest is None or self._latest[0] is not incoming or self._latest[1] is not topic:
            self._latest = incoming, topic, topic.decode(incoming.packet.payload)
        message: M = self._latest[2]
        return message

    def raw(self, incoming: Incoming) -> RawDelivery:
        """Bytes as they came."""
        packet = incoming.packet
        address = packet.address.removeprefix(f"{self._root}/")
        return RawDelivery(address, packet.payload, packet.retained, incoming.received_at)


@lru_cache(maxsize=512)
def _read_address(root: str, topic: Topic[Any], whole: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The address below the root and its parameters; names are checked, as a broker lets anybody use any."""
    address = whole.removeprefix(f"{root}/")
    parameters = topic.parse(address)
    if parameters is None:
        raise BadMessageError("address", f"not an address of {topic.template}")
    try:
        return address, tuple((name, check_name(name, value)) for name, value in parameters.items())
    except InvalidNameError as error:
        raise BadMessageError("address", str(error)) from error


def _check_agrees(message: object, parameters: tuple[tuple[str, str], ...]) -> None:
    """What a message says of itself must be what its address says: access rules are about addresses."""
    for name, value in parameters:
        claimed = getattr(message, name, value)
        if claimed != value:
            raise BadMessageError("address", f"its {name} is {claimed!r} in the payload and {value!r} in the address")
