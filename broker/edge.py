"""The edge of the bus: bytes that nobody vouches for become checked messages, or are counted and dropped."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, TypeVar

from broker.delivery import Change, Delivery, RawDelivery
from broker.message import Incoming
from broker.rejections import Rejections
from schemas.base import InvalidNameError, check_name
from schemas.topics import BadMessageError, Topic

M = TypeVar("M")

FRAME_CONTENT_TYPE: Final = "application/x-stageline-frame"


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
        address = self._below_root(incoming)
        try:
            parameters = dict(_parameters(topic, address))
            if not incoming.payload and topic.retained:
                return Change(None, parameters, incoming.retained, address)
            message = topic.decode(incoming.payload)
            _check_agrees(message, parameters)
        except BadMessageError as error:
            self._rejections.add(error.reason, incoming.address, str(error))
            return None
        return Change(message, parameters, incoming.retained, address)

    def raw(self, incoming: Incoming) -> RawDelivery:
        """Bytes as they came."""
        return RawDelivery(self._below_root(incoming), incoming.payload, incoming.retained, incoming.received_at)

    def _below_root(self, incoming: Incoming) -> str:
        return incoming.address.removeprefix(f"{self._root}/")


@lru_cache(maxsize=512)
def _parameters(topic: Topic[Any], address: str) -> tuple[tuple[str, str], ...]:
    parameters = topic.parse(address)
    if parameters is None:
        raise BadMessageError("address", f"not an address of {topic.template}")
    try:
        return tuple((name, check_name(name, value)) for name, value in parameters.items())
    except InvalidNameError as error:
        raise BadMessageError("address", str(error)) from error


def _check_agrees(message: object, parameters: dict[str, str]) -> None:
    """What a message says of itself must be what its address says: access rules are about addresses."""
    for name, value in parameters.items():
        claimed = getattr(message, name, value)
        if claimed != value:
            raise BadMessageError("address", f"its {name} is {claimed!r} in the payload and {value!r} in the address")
