"""A typed message on its way out: the address and the bytes that its topic makes of it. `edge.py` is the way in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from broker.message import Outgoing
from broker.packet import Envelope
from schemas.topics import Topic


@lru_cache(maxsize=512)
def address_of(root: str, topic: Topic[Any], parameters: tuple[tuple[str, str | int], ...]) -> str:
    """The whole address of one message. Cached: every frame asks for its own."""
    return f"{root}/{topic.address(**dict(parameters))}"


def pattern_of(root: str, topic: Topic[Any], parameters: Mapping[str, str | int]) -> str:
    """A filter for all messages of a topic that have these parameters."""
    return f"{root}/{topic.filter(**parameters)}"


def outgoing(root: str, topic: Topic[Any], message: Any, parameters: Mapping[str, str | int]) -> Outgoing:
    """The message as it is sent, retained when its topic is."""
    envelope = Envelope("application/msgpack" if topic.encoding == "msgpack" else "application/json")
    address = address_of(root, topic, tuple(parameters.items()))
    return Outgoing(address, topic.encode(message), retain=topic.retained, envelope=envelope)
