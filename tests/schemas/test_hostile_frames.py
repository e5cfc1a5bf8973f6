"""Frames that lie about their lengths, overlap, end early or unpack to more than they say: refused, and never big."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import msgpack
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.made_up import arrays, frames
from fuzz.targets import frame as throw
from schemas.codec import Array
from schemas.frame import FrameError, FrameLimits, encode_frame, open_frame
from schemas.frame_header import FrameHeader
from schemas.plan import CodecName

HEADER = FrameHeader(kind="work", request="q", submitter="s", deployment="d", generation=1, budget_ms=1000)
PLAIN = HEADER.model_dump(exclude_defaults=True)
BODY = struct.pack("<60f", *range(60))


def built(tensors: list[dict[str, object]], rest: bytes, count: int | None = None) -> bytes:
    """A frame of those tensor headers, and whatever bytes come after the header."""
    packer = msgpack.Packer(autoreset=False)
    packer.pack_array_header(1 + (len(tensors) if count is None else count))
    packer.pack({**PLAIN, "tensors": tensors})
    return bytes(packer.bytes()) + rest


def tensor(**changes: object) -> dict[str, object]:
    return {"name": "x", "dtype": "float32", "shape": [60], "nbytes": 240, **changes}


def binary(declared: int, data: bytes) -> bytes:
    return struct.pack(">BI", 0xC6, declared) + data


def packed(plain: bytes, *, level: int = 3) -> bytes:
    return zstandard.ZstdCompressor(level=level).compress(plain)


@settings(max_examples=40)
@given(
    array=arrays(),
    codec=st.sampled_from(["fp32", "fp16", "u8", "fp32+zstd", "fp16+zstd", "u8+zstd"]),
)
def test_any_array_comes_back_in_its_own_type_and_shape_with_every_codec(array: Array, codec: CodecName) -> None:
    back = open_frame(encode_frame(HEADER, {"x": array}, codec)).arrays()["x"]
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    if array.dtype.kind != "f" or codec.startswith("fp32"):
        assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize("codec", ["fp32", "fp16", "u8", "fp32+zstd", "fp16+zstd", "u8+zstd"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_single_number_without_dimensions_comes_back_as_one(codec: CodecName, dtype: str) -> None:
    back = open_frame(encode_frame(HEADER, {"x": np.array(2.5, dtype)}, codec)).arrays()["x"]
    assert (back.dtype, back.shape, float(back)) == (np.dtype(dtype), (), 2.5)


@settings(max_examples=15)
@given(payload=frames())
def test_a_frame_that_ends_anywhere_is_refused(payload: bytes) -> None:
    for end in range(0, len(payload), max(1, len(payload) // 60)):
        with pytest.raises(FrameError) as caught:
            open_frame(payload[:end])
        assert caught.value.reason in ("truncated", "malformed")


@settings(max_examples=80)
@given(
    declared=st.integers(0, 2**32 - 1),
    nbytes=st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 500)),
    shape=st.lists(st.one_of(st.integers(0, 9), st.integers(-(2**63), 2**64 - 1)), max_size=9),
    data=st.binary(max_size=300),
    zstd=st.booleans(),
    count=st.one_of(st.none(), st.integers(0, 2**32 - 2)),
)
def test_lengths_that_lie_are_refused(
    *, declared: int, nbytes: int, shape: list[int], data: bytes, zstd: bool, count: int | None
) -> None:
    throw(built([tensor(nbytes=nbytes, shape=shape, zstd=zstd)], binary(declared, data), count))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (built([tensor()], binary(240, BODY[:-1])), "truncated"),
        (built([tensor()], binary(239, BODY)), "malformed"),
        (built([tensor()], binary(2**32 - 1, BODY)), "malformed"),
        (built([tensor(nbytes=-240)], binary(240, BODY)), "malformed"),
        (built([tensor(shape=[-60])], binary(240, BODY)), "malformed"),
        (built([tensor(nbytes=2**63)], binary(240, BODY)), "malformed"),
        (built([tensor(), tensor()], binary(240, BODY) * 2), "malformed"),
        (built([tensor(), tensor(name="y")], binary(240, BODY)), "malformed"),
        (built([tensor(), tensor(name="y")], binary(240, BODY), count=1), "malformed"),
        (built([tensor()], b"\xc6"), "truncated"),
        (built([tensor()], b"\xd9\xf0" + BODY), "malformed"),
        (built([tensor()], b"\xc7\xf0\x01" + BODY), "malformed"),
        (built([tensor()], b""), "malformed"),
        (built([tensor(zstd=True, nbytes=10_000)], binary(10_000, bytes(10_000))), "malformed"),
        (b"\x91" + b"\x82\xa4kind\xa4work\xa4kind\xa6answer", "malformed"),
    ],
)
def test_a_frame_that_does_not_agree_with_itself_is_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(FrameError) as caught:
        open_frame(payload)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "data",
    [
        packed(bytes(1 << 20)),
        packed(bytes(240)) + packed(bytes(1 << 20)),
        packed(bytes(240)) + b"junk",
        packed(bytes(240))[:-1],
        packed(bytes(239)),
        b"",
        b"\x28\xb5\x2f\xfd",
        zstandard.ZstdCompressor(write_content_size=False).compress(bytes(240)),
    ],
    ids=["bomb", "second frame", "junk behind", "cut off", "too short", "nothing", "magic only", "size not said"],
)
def test_what_unpacks_to_anything_else_than_was_said_is_refused(data: bytes) -> None:
    frame = open_frame(built([tensor(zstd=True, nbytes=len(data))], binary(len(data), data)))
    with pytest.raises(FrameError) as caught:
        frame.arrays()
    assert caught.value.reason == "tensor"


def test_a_bomb_of_many_small_tensors_meets_the_limit_of_the_whole_frame() -> None:
    data = packed(bytes(1 << 16))
    many = [tensor(name=f"t{n}", dtype="uint8", shape=[1 << 16], zstd=True, nbytes=len(data)) for n in range(60)]
    payload = built(many, binary(len(data), data) * 60)
    assert len(payload) < 10_000
    with pytest.raises(FrameError, match="the limit is"):
        open_frame(payload, FrameLimits(decoded_bytes=1 << 20))


WINDOW = """
import resource, struct, sys, msgpack
from schemas.codec import TensorHeader, TensorError, decode_tensor
# A zstd frame header that asks for a window of 2 GiB to unpack 240 bytes into.
data = b"\\x28\\xb5\\x2f\\xfd" + bytes([0x40, 21 << 3]) + struct.pack("<H", 0) + b"\\x01\\x00\\x00"
header = TensorHeader(name="x", dtype="uint8", shape=(256,), zstd=True, nbytes=len(data))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode_tensor(header, memoryview(data))
except TensorError:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_window_larger_than_any_of_ours_is_not_made_room_for() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WINDOW], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 16


def test_the_largest_tensors_of_the_highest_usual_level_are_still_read() -> None:
    array = np.zeros(3 << 20, np.float32)
    data = packed(array.tobytes(), level=19)
    described = tensor(shape=[3 << 20], zstd=True, nbytes=len(data))
    assert open_frame(built([described], binary(len(data), data))).arrays()["x"].nbytes == array.nbytes
