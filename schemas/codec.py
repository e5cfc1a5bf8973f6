"""How one tensor becomes bytes and back: fp32 (as it is), fp16, u8 (affine), each optionally with zstd.

u8 is affine over the whole tensor, or per channel for tensors of rank >= 3 whose channels (axis 1) differ in
range: x is about `scale * q + offset`, q in 0..255. "As it is" is a codec like any other.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Self, get_args

import numpy as np
import zstandard
from numpy.typing import NDArray
from pydantic import Field, model_validator

from schemas.base import Count, Many, Message
from schemas.plan import CodecName
from schemas.tensors import ITEM_BYTES, Dtype

Array = NDArray[np.generic]
Encoding = Literal["raw", "fp16", "u8"]

_ZSTD_LEVEL: Final = 1
_DTYPES: Final = {np.dtype(name): name for name in get_args(Dtype)}
_STORED_ITEM_BYTES: Final[dict[Encoding, int]] = {"fp16": 2, "u8": 1}
_MAX_CHANNELS: Final = 8192
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
_MAX_SPAN_BYTES: Final = 1 << 40
_MOST_WINDOW_BYTES: Final = 8 << 20
"""zstd needs no larger one below level 20."""


_Float32 = Annotated[float, Field(ge=-_FLOAT32_MAX, le=_FLOAT32_MAX, allow_inf_nan=False)]


class TensorError(ValueError):
    """A tensor whose description and bytes do not agree, or that no codec can carry."""


class TensorHeader(Message):
    """Describes one tensor of a frame; checked against its bytes before anything is allocated."""

    name: Annotated[str, Field(min_length=1, max_length=512)]
    dtype: Dtype
    shape: Annotated[tuple[Annotated[int, Field(ge=0, le=2**31)], ...], Field(max_length=8)]
    encoding: Encoding = "raw"
    zstd: bool = False
    nbytes: Count
    """Bytes on the wire."""
    scale: Annotated[Many[_Float32], Field(max_length=_MAX_CHANNELS)] = ()
    offset: Annotated[Many[_Float32], Field(max_length=_MAX_CHANNELS)] = ()

    @property
    def decoded_bytes(self) -> int:
        """Size of the decoded array, bytes."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]

    @property
    def stored_bytes(self) -> int:
        """Size on the wire before zstd, bytes."""
        return math.prod(self.shape) * _STORED_ITEM_BYTES.get(self.encoding, ITEM_BYTES[self.dtype])

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        # An empty tensor takes no bytes whatever its other dimensions are, but numpy still multiplies them.
        if math.prod(size or 1 for size in self.shape) * ITEM_BYTES[self.dtype] > _MAX_SPAN_BYTES:
            raise ValueError(f"{self.name}: no frame can hold a tensor of shape {list(self.shape)}")
        if self.encoding != "raw" and self.dtype not in ("float32", "float64"):
            raise ValueError(f"{self.name}: encoding {self.encoding} is for float32 and float64, not {self.dtype}")
        if not self.zstd and self.nbytes != self.stored_bytes:
            raise ValueError(f"{self.name}: {self.stored_bytes} bytes expected from its shape, {self.nbytes} declared")
        if self.zstd and self.nbytes > _most_packed(self.stored_bytes):
            raise ValueError(f"{self.name}: {self.nbytes} bytes declared; zstd needs fewer for {self.stored_bytes}")
        channels = self.shape[1] if len(self.shape) >= 3 else 1
        expected = {1, channels} if self.encoding == "u8" else {0}
        if len(self.scale) != len(self.offset) or len(self.scale) not in expected:
            raise ValueError(
                f"{self.name}: {len(self.scale)} scales and {len(self.offset)} offsets do not fit its shape"
            )
        return self


@dataclass(frozen=True, slots=True)
class EncodedTensor:
    """A header and the bytes it describes; `data` may be a view of the array itself."""

    header: TensorHeader
    data: memoryview


def encode_tensor(name: str, array: Array, codec: CodecName) -> EncodedTensor:
    """Encode one array. float32 and float64 follow `codec`; other element types stay as they are.

    Args:
        name: the tensor's name in the graph.
        array: any shape up to 8 dimensions; made contiguous if it is not.
        codec: what the plan says for this cut.

    Raises:
        TensorError: an element type that frames do not carry.
    """
    dtype = _DTYPES.get(array.dtype)
    if dtype is None:
        raise TensorError(
            f"{name}: frames do not carry elements of type {array.dtype}; convert to one of {sorted(ITEM_BYTES)}"
        )
    contiguous = np.ascontiguousarray(array)
    kind, _, packing = codec.partition("+")
    encoding: Encoding = "raw"
    scale: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()
    stored: Array = contiguous
    if dtype in ("float32", "float64") and array.size:
        if kind == "fp16":
            half = _to_half(contiguous)
            if half is not None:
                encoding, stored = "fp16", half
        elif kind == "u8":
            quantised = _quantise(contiguous)
            if quantised is not None:
                encoding = "u8"
                stored, scale, offset = quantised
    data = stored.reshape(-1).view(np.uint8).data if stored.size else memoryview(b"")
    if packing:
        data = memoryview(_own.compressor.compress(data))
    describe = TensorHeader if scale or packing else _describe
    header = describe(
        name=name,
        dtype=dtype,
        shape=array.shape,
        encoding=encoding,
        zstd=bool(packing),
        nbytes=len(data),
        scale=scale,
        offset=offset,
    )
    return EncodedTensor(header, data)


@lru_cache(maxsize=512)
def _describe(**fields: Any) -> TensorHeader:
    """The same header for the same tensor in every frame, where it does not depend on the values: frames are many."""
    return TensorHeader(**fields)


def decode_tensor(header: TensorHeader, data: memoryview) -> Array:
    """The array that `header` describes; a read-only view of `data` where nothing had to be changed.

    Raises:
        TensorError: the bytes are not what the header says.
    """
    if len(data) != header.nbytes:
        raise TensorError(f"{header.name}: {header.nbytes} bytes declared, {len(data)} present")
    if header.zstd:
        data = _decompress(header, data)
    if header.encoding == "raw":
        return np.frombuffer(data, dtype=header.dtype).reshape(header.shape)
    if header.encoding == "fp16":
        return np.frombuffer(data, dtype=np.float16).reshape(header.shape).astype(header.dtype)
    # As one dimension where there is none: numpy gives a scalar, not an array, back for a calculation with one.
    rank = max(len(header.shape), 1)
    out = np.frombuffer(data, dtype=np.uint8).reshape(header.shape or (1,)).astype(np.float32)
    scale = _per_channel(header.scale, rank)
    offset = _per_channel(header.offset, rank)
    # The largest floats overflow here, silently: raw bytes may hold infinities just as well.
    with np.errstate(over="ignore"):
        out *= scale
        out += offset
    return out.astype(header.dtype, copy=False).reshape(header.shape)


def _to_half(array: Array) -> Array | None:
    """fp16, or None where a finite value would overflow: the tensor then goes as it is."""
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if bool(np.isfinite(half).all()) else None


def _quantise(array: Array) -> tuple[Array, tuple[float, ...], tuple[float, ...]] | None:
    """Codes, scales and offsets; None where a value is not finite: the tensor then goes as it is."""
    # What float32 cannot hold becomes infinite, and is found below.
    with np.errstate(over="ignore"):
        values = array.astype(np.float32, copy=False)
    axes = tuple(axis for axis in range(values.ndim) if axis != 1) if _has_channels(values) else None
    low = values.min(axis=axes)
    high = values.max(axis=axes)
    with np.errstate(invalid="ignore"):
        span = high.astype(np.float64) - low.astype(np.float64)
    if not bool(np.isfinite(span).all()) or float(np.max(span)) > np.finfo(np.float32).max:
        return None
    scale = np.atleast_1d(np.where(span > 0, span / 255, 1.0)).astype(np.float32)
    # A span in the denormals would round to a zero scale.
    scale[scale == 0] = np.finfo(np.float32).tiny
    offset = np.atleast_1d(low).astype(np.float32)
    codes = values - _per_channel(offset, values.ndim)
    codes /= _per_channel(scale, values.ndim)
    np.rint(codes, out=codes)
    np.clip(codes, 0, 255, out=codes)
    return codes.astype(np.uint8), tuple(scale.tolist()), tuple(offset.tolist())


def _has_channels(values: Array) -> bool:
    """Per-channel ranges pay when a channel has enough elements to carry two floats of its own."""
    return values.ndim >= 3 and 1 < values.shape[1] <= _MAX_CHANNELS and values.size >= 64 * values.shape[1]


def _per_channel(numbers: tuple[float, ...] | Array, rank: int) -> NDArray[np.float32]:
    vector = np.asarray(numbers, dtype=np.float32)
    return vector if vector.size == 1 else vector.reshape((1, -1) + (1,) * (rank - 2))


def _most_packed(nbytes: int) -> int:
    """What zstd makes of bytes that it cannot shrink, generously (ZSTD_compressBound)."""
    return nbytes + (nbytes >> 7) + 256


def _decompress(header: TensorHeader, data: memoryview) -> memoryview:
    try:
        declared = zstandard.frame_content_size(data)
        if declared != header.stored_bytes:
            raise TensorError(f"{header.name}: {header.stored_bytes} bytes expected after zstd, {declared} declared")
        plain = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW_BYTES).decompress(
            data, max_output_size=header.stored_bytes, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise TensorError(f"{header.name}: zstd data does not unpack: {error}") from error
    if len(plain) != header.stored_bytes:
        raise TensorError(f"{header.name}: {header.stored_bytes} bytes expected after zstd, {len(plain)} came out")
    return memoryview(plain)


class _Own(threading.local):
    """What each thread has for itself: zstandard's objects must not be used by two at once."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)


_own: Final = _Own()
