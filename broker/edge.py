"""The edge of the bus: bytes that nobody vouches for become checked messages, or are counted and dropped."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

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

    def delivery(self, topic: Topic[M], incoming: Incoming) -> Delivery[M] | None:
        """A message of this topic, or None when it is not one."""
        change = self.change(topic, incoming)
        if change is None or change.message is None:
            return None
        return Delivery(change.message, change.parameters, change.retained, change.address)

    def change(self, topic: Topic[M], incoming: Incoming) -> Change[M] | None:
        """As `delivery`; an empty payload on a retained topic is a change to None."""
        packet = incoming.packet
        try:
            address, parameters = _read_address(self._root, topic, packet.address)
            cleared = topic.retained and not packet.payload
            message = None if cleared else topic.decode(packet.payload)
            _check_agrees(message, parameters)
        except BadMessageError as error:
            self._rejections.add(error.reason, packet.address, str(error))
            return None
        return Change(message, dict(parameters), packet.retained, address)

    def frame(self, topic: Topic[Frame], incoming: Incoming, ack: Callable[[], None]) -> FrameDelivery | None:
        """A frame, opened and not decoded; one that is malformed is acknowledged here."""
        packet = incoming.packet
        try:
            _, parameters = _read_address(self._root, topic, packet.address)
            frame = topic.decode(packet.payload)
        except BadMessageError as error:
            self._rejections.add(error.reason, packet.address, str(error))
            ack()
            return None
        return FrameDelivery(frame, dict(parameters), packet.expiry_s, incoming.received_at, ack)

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
