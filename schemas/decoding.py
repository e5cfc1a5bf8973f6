"""Control messages from bytes that nobody vouches for, in memory bounded by their length: JSON, and flat msgpack."""

from __future__ import annotations

import json
from typing import Any, Final, TypeVar

import msgpack
from pydantic import ValidationError

from schemas.base import Message, brief, first_mistake

M = TypeVar("M", bound=Message)

MOST_CONTROL_BYTES: Final = 4 << 20
"""Of any control message; most topics carry far less."""
MOST_VALUES: Final = 1 << 17
MOST_CONTAINERS: Final = 1 << 15
"""In one JSON message, counted by commas and brackets before it is parsed: two bytes of JSON can be an object."""
_MOST_FIELDS: Final = 2048
"""In one map."""


class BadMessageError(ValueError):
    """A payload that is not what its topic carries. `reason` is a short word for counters."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(brief(detail))
        self.reason = reason


def from_json(kind: type[M], payload: bytes | bytearray | memoryview) -> M:
    """The message that a JSON text says.

    Raises:
        BadMessageError: not JSON, not this message, or it says something twice.
    """
    raw = bytes(payload)
    if raw.count(b",") > MOST_VALUES or raw.count(b"[") + raw.count(b"{") > MOST_CONTAINERS:
        raise BadMessageError("oversized", f"more than {MOST_VALUES} values or {MOST_CONTAINERS} lists and maps")
    try:
        # Not by pydantic's own parser: it takes kilobytes for an object, and the last of two fields of one name.
        return kind.model_validate(json.loads(str(raw, "utf-8"), object_pairs_hook=_as_fields))
    except ValidationError as error:
        raise BadMessageError("malformed", first_mistake(error)) from error
    except (ValueError, RecursionError) as error:
        raise BadMessageError("malformed", str(error) or type(error).__name__) from error


def from_msgpack(kind: type[M], payload: bytes | bytearray | memoryview) -> M:
    """The message that a msgpack map of strings, numbers and bytes says; nothing in it is nested.

    Raises:
        BadMessageError: not msgpack, not this message, or it says something twice.
    """
    try:
        return kind.model_validate(_flat_map(payload))
    except BadMessageError:
        raise
    except ValidationError as error:
        raise BadMessageError("malformed", first_mistake(error)) from error
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise BadMessageError("malformed", str(error) or type(error).__name__) from error


def _flat_map(payload: bytes | bytearray | memoryview) -> dict[str, Any]:
    most = max(1, len(payload))
    unpacker = msgpack.Unpacker(
        max_buffer_size=most, max_bin_len=most, max_str_len=8192, max_array_len=0, max_map_len=0, max_ext_len=0
    )
    unpacker.feed(payload)
    count = unpacker.read_map_header()
    if count > _MOST_FIELDS:
        raise BadMessageError("malformed", f"{count} fields in one map")
    fields = each_once([(unpacker.unpack(), unpacker.unpack()) for _ in range(count)])
    if unpacker.tell() != len(payload):
        raise BadMessageError("malformed", f"{len(payload) - unpacker.tell()} bytes after the message")
    return fields


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A map from its pairs, for decoders that ask (`object_pairs_hook`).

    Raises:
        ValueError: two have one name (readers differ in which they believe), or there are very many.
    """
    if len(pairs) > _MOST_FIELDS:
        raise ValueError(f"{len(pairs)} fields in one map")
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("it says something twice")
    return fields


def _as_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """As `each_once`, with lists as the tuples that strict messages take."""
    return {name: tuple(value) if type(value) is list else value for name, value in each_once(pairs).items()}
