"""Frames: named tensors and a header as one MQTT payload. Pure msgpack, so any language reads it.

    [ header, bytes, bytes, ... ]      array of 1 + n; one `bin` per tensor, in the order of header["tensors"]

`open_frame` checks everything that can be checked without touching tensor data, in bounded memory: it is cheap
enough for the event loop. `Frame.arrays()` decodes and belongs in an executor.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgpack
from pydantic import ValidationError

from schemas.base import brief, first_mistake
from schemas.codec import Array, EncodedTensor, TensorHeader, decode_tensor, encode_tensor
from schemas.decoding import each_once
from schemas.frame_header import FrameHeader
from schemas.plan import CodecName


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """What a receiver accepts, bytes; checked from declared sizes before anything is allocated."""

    frame_bytes: int = 64 << 20
    header_bytes: int = 1 << 18
    decoded_bytes: int = 256 << 20


DEFAULT_LIMITS: Final = FrameLimits()


class FrameError(ValueError):
    """Bytes that are not a valid frame. `reason` is a short word for counters, the message says what is wrong."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(brief(detail))
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Frame:
    """An opened frame: checked header, tensors still as bytes."""

    header: FrameHeader
    data: tuple[memoryview, ...]
    nbytes: int

    def arrays(self) -> dict[str, Array]:
        """Decode all tensors, by name. Arrays may be read-only views of the payload.

        Raises:
            FrameError: a tensor's bytes are not what its header says.
        """
        try:
            return {
                tensor.name: decode_tensor(tensor, data)
                for tensor, data in zip(self.header.tensors, self.data, strict=True)
            }
        except ValueError as error:  # numpy's own, and TensorError
            raise FrameError("tensor", str(error)) from error


FRAME_CONTENT_TYPE: Final = "application/x-stageline-frame"
_USUAL_HEADER_BYTES: Final = 4096
_BIN32: Final = struct.Struct(">BI")


def encode_frame(header: FrameHeader, tensors: Mapping[str, Array] | None = None, codec: CodecName = "fp32") -> bytes:
    """One payload from a header and tensors; `header.tensors` is filled in here.

    Tensor data is copied exactly once, into the payload.

    Raises:
        schemas.codec.TensorError: an element type that frames do not carry.
    """
    return pack_frame(header, [encode_tensor(name, array, codec) for name, array in (tensors or {}).items()])


def pack_frame(header: FrameHeader, encoded: Sequence[EncodedTensor]) -> bytes:
    """One payload from a header and tensors that are encoded already; `header.tensors` is filled in here.

    For a sender whose header tells what encoding took: it must encode before it can write the header.
    """
    fields = header.model_dump(mode="python", exclude_defaults=True)
    fields["tensors"] = [_fields(tensor.header) for tensor in encoded]
    packer = msgpack.Packer(autoreset=False)
    packer.pack_array_header(1 + len(encoded))
    packer.pack(fields)
    parts: list[bytes | memoryview] = [packer.bytes()]
    for tensor in encoded:
        parts.append(_BIN32.pack(0xC6, len(tensor.data)))
        parts.append(tensor.data)
    return b"".join(parts)


def _fields(tensor: TensorHeader) -> dict[str, Any]:
    """What is packed of a tensor's header; kept for the next frame where it is short and will be the same."""
    return _usual_fields(tensor) if not tensor.scale else tensor.model_dump(mode="python", exclude_defaults=True)


@lru_cache(maxsize=512)
def _usual_fields(tensor: TensorHeader) -> dict[str, Any]:
    return tensor.model_dump(mode="python", exclude_defaults=True)


def open_frame(payload: bytes | bytearray | memoryview, limits: FrameLimits = DEFAULT_LIMITS) -> Frame:
    """Check a payload and split it into header and tensor bytes, copying no tensor data.

    Raises:
        FrameError: anything malformed, truncated, oversized or inconsistent; nothing larger than
            `limits.header_bytes` has been allocated by then.
    """
    view = memoryview(payload).cast("B")
    if len(view) > limits.frame_bytes:
        raise FrameError("oversized", f"frame of {len(view)} bytes; the limit is {limits.frame_bytes}")
    header, count, position = _read_header(view, limits)
    if count != len(header.tensors):
        raise FrameError("malformed", f"{len(header.tensors)} tensors declared, {count} present")
    if len({tensor.name for tensor in header.tensors}) != count:
        raise FrameError("malformed", "two tensors have the same name")
    decoded = sum(tensor.decoded_bytes for tensor in header.tensors)
    stored = sum(tensor.stored_bytes for tensor in header.tensors)
    if max(decoded, stored) > limits.decoded_bytes:
        raise FrameError("oversized", f"tensors of {decoded} bytes in all; the limit is {limits.decoded_bytes}")
    data: list[memoryview] = []
    for tensor in header.tensors:
        start, length = _bin_at(view, position)
        if length != tensor.nbytes:
            raise FrameError("malformed", f"{tensor.name}: {tensor.nbytes} bytes declared, {length} present")
        position = start + length
        if position > len(view):
            raise FrameError("truncated", f"{tensor.name}: frame ends {position - len(view)} bytes early")
        data.append(view[start:position])
    if position != len(view):
        raise FrameError("malformed", f"{len(view) - position} bytes after the last tensor")
    return Frame(header, tuple(data), len(view))


def _read_header(view: memoryview, limits: FrameLimits) -> tuple[FrameHeader, int, int]:
    """The header, the number of tensors and where their bytes begin."""
    try:
        # Nearly all headers are this small, and msgpack copies what it is fed.
        return _read_header_within(view, min(_USUAL_HEADER_BYTES, limits.header_bytes))
    except msgpack.OutOfData:
        pass
    try:
        return _read_header_within(view, limits.header_bytes)
    except msgpack.OutOfData as error:
        reason = "oversized" if len(view) > limits.header_bytes else "truncated"
        raise FrameError(reason, "frame ends inside its header, or the header is too large") from error


def _read_header_within(view: memoryview, header_bytes: int) -> tuple[FrameHeader, int, int]:
    unpacker = msgpack.Unpacker(
        max_buffer_size=header_bytes,
        max_str_len=8192,
        max_bin_len=0,
        max_array_len=8192,
        max_map_len=64,
        max_ext_len=0,
        use_list=False,
        strict_map_key=True,
        object_pairs_hook=each_once,
    )
    unpacker.feed(view[:header_bytes])
    try:
        count = unpacker.read_array_header() - 1
        raw: Any = unpacker.unpack()
        header = FrameHeader.model_validate(raw)
    except msgpack.OutOfData:
        raise
    except ValidationError as error:
        raise FrameError("malformed", f"bad header: {first_mistake(error)}") from error
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise FrameError("malformed", f"not a frame: {error or type(error).__name__}") from error
    return header, count, unpacker.tell()


def _bin_at(view: memoryview, position: int) -> tuple[int, int]:
    """Start and length of the msgpack `bin` at `position`."""
    widths = {0xC4: 1, 0xC5: 2, 0xC6: 4}
    tag = view[position] if position < len(view) else None
    if tag not in widths:
        raise FrameError("malformed", "expected tensor bytes (msgpack bin)" if tag is not None else "frame ends early")
    start = position + 1 + widths[tag]
    if start > len(view):
        raise FrameError("truncated", "frame ends inside a length")
    return start, int.from_bytes(view[position + 1 : start], "big")
