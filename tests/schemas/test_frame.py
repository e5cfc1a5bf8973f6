"""Frames carry tensors exactly, and refuse everything else in bounded memory."""

import math
import struct
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schemas.codec import TensorError
from schemas.frame import Frame, FrameError, FrameLimits, encode_frame, open_frame
from schemas.frame_header import FrameFault, FrameHeader, StageTrace

HEADER = FrameHeader(
    kind="work", request="req-1", submitter="laptop", deployment="cats", generation=3, route=1, budget_ms=250.0
)
DTYPES = ["float32", "float16", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]


def arrays() -> st.SearchStrategy[np.ndarray]:
    shapes = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=6)
    return st.sampled_from([*DTYPES, "bool"]).flatmap(lambda dtype: hnp.arrays(np.dtype(dtype), shapes))


@given(tensors=st.dictionaries(st.text(min_size=1, max_size=20), arrays(), max_size=4), zstd=st.booleans())
def test_any_tensors_come_back_bit_for_bit_with_codecs_off(tensors: dict[str, np.ndarray], zstd: bool) -> None:
    payload = encode_frame(HEADER, tensors, "fp32+zstd" if zstd else "fp32")
    back = open_frame(payload).arrays()
    assert list(back) == list(tensors)
    for name, array in tensors.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


@given(
    values=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=9),
        elements=st.floats(-1e6, 1e6, width=32),
    ),
    codec=st.sampled_from(["u8", "u8+zstd"]),
)
def test_u8_is_off_by_at_most_half_a_step_of_the_range(values: np.ndarray, codec: str) -> None:
    back = open_frame(encode_frame(HEADER, {"x": values}, codec)).arrays()["x"]  # type: ignore[arg-type]
    step = (float(values.max()) - float(values.min())) / 255
    assert back.dtype == np.float32
    assert np.abs(back.astype(np.float64) - values).max() <= 0.51 * step + 1e-6 * np.abs(values).max() + 1e-30


def test_u8_keeps_each_channel_to_its_own_range() -> None:
    small_and_large = (
        np.stack([np.linspace(0, 0.01, 400), np.linspace(0, 100, 400)]).astype(np.float32).reshape(1, 2, 20, 20)
    )
    back = open_frame(encode_frame(HEADER, {"x": small_and_large}, "u8")).arrays()["x"]
    assert np.abs(back[0, 0] - small_and_large[0, 0]).max() < 0.01 / 255


@pytest.mark.parametrize("codec", ["u8", "fp16", "u8+zstd"])
@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_values_that_are_not_finite_are_sent_as_they_are(codec: str, bad: float) -> None:
    array = np.array([1.0, bad, 3.0], dtype=np.float32)
    back = open_frame(encode_frame(HEADER, {"x": array}, codec)).arrays()["x"]  # type: ignore[arg-type]
    np.testing.assert_array_equal(back, array)


def test_fp16_halves_the_bytes_and_a_value_beyond_its_range_is_sent_as_it_is() -> None:
    ordinary = np.linspace(-3, 3, 1000, dtype=np.float32)
    halved = encode_frame(HEADER, {"x": ordinary}, "fp16")
    assert len(halved) < 2300
    np.testing.assert_allclose(open_frame(halved).arrays()["x"], ordinary, atol=2e-3)
    large = ordinary * 1e6
    np.testing.assert_array_equal(open_frame(encode_frame(HEADER, {"x": large}, "fp16")).arrays()["x"], large)


def test_integers_are_never_quantised() -> None:
    picture = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    np.testing.assert_array_equal(open_frame(encode_frame(HEADER, {"x": picture}, "u8")).arrays()["x"], picture)


def test_the_header_travels_with_its_trace_and_fault() -> None:
    trace = StageTrace(
        device="pi4", first=0, last=3, wait_ms=0.5, compute_ms=7.25, codec_ms=0.1, bytes_in=10, bytes_out=20,
        energy_j=0.05, energy_method="modelled", energy_source="busy_w * compute time",
    )  # fmt: skip
    header = HEADER.model_copy(
        update={"kind": "error", "trace": (trace,), "fault": FrameFault(code="expired", detail="late", device="pi4")}
    )
    assert open_frame(encode_frame(header)).header == header


def test_any_msgpack_library_can_read_a_frame() -> None:
    payload = encode_frame(HEADER, {"x": np.arange(3, dtype=np.int32)})
    header, data = msgpack.unpackb(payload)
    assert header["tensors"][0]["name"] == "x"
    assert np.frombuffer(data, np.int32).tolist() == [0, 1, 2]


def test_a_strided_array_is_sent_in_its_logical_order() -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::3]
    np.testing.assert_array_equal(open_frame(encode_frame(HEADER, {"x": array})).arrays()["x"], array)


def test_an_element_type_that_frames_do_not_carry_is_refused_by_name() -> None:
    with pytest.raises(TensorError, match="complex64"):
        encode_frame(HEADER, {"x": np.zeros(2, np.complex64)})


# --- bytes nobody vouches for ----------------------------------------------------------------------------------------


def handmade(header: dict[str, object], *data: bytes) -> bytes:
    packer = msgpack.Packer(autoreset=False)
    packer.pack_array_header(1 + len(data))
    packer.pack(header)
    for item in data:
        packer.pack(item)
    return bytes(packer.bytes())


def header_with(**tensor: object) -> dict[str, object]:
    plain = {"name": "x", "dtype": "float32", "shape": [2], "nbytes": 8} | tensor
    return HEADER.model_dump(exclude_defaults=True) | {"tensors": [plain]}


def test_a_handmade_frame_is_read() -> None:
    frame = open_frame(handmade(header_with(), struct.pack("<2f", 1, 2)))
    assert frame.arrays()["x"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "truncated"),
        (b"\xc1", "malformed"),
        (b"not a frame at all", "malformed"),
        (b"\x93", "truncated"),
        (b"\xdd\xff\xff\xff\xff", "truncated"),
        (msgpack.packb([1, 2]), "malformed"),
        (msgpack.packb({"a": 1}), "malformed"),
        (handmade(HEADER.model_dump(exclude_defaults=True) | {"extra": 1}), "malformed"),
        (handmade(HEADER.model_dump(exclude_defaults=True) | {"generation": -1}), "malformed"),
        (handmade(HEADER.model_dump(exclude_defaults=True) | {"budget_ms": math.nan}), "malformed"),
        (handmade(HEADER.model_dump(exclude_defaults=True) | {"request": "a/b"}), "malformed"),
        (handmade(header_with(), b"1234"), "malformed"),
        (handmade(header_with()), "malformed"),
        (handmade(header_with(), b"12345678", b"more"), "malformed"),
        (handmade(header_with(dtype="object"), b"12345678"), "malformed"),
        (handmade(header_with(dtype="float64"), b"12345678"), "malformed"),
        (handmade(header_with(shape=[-1]), b"12345678"), "malformed"),
        (handmade(header_with(shape=[2**31, 2**31], nbytes=2**64 - 1), b"12345678"), "malformed"),
        (handmade(header_with(encoding="u8", nbytes=2), b"12"), "malformed"),
        (handmade(header_with(encoding="u8", nbytes=2, scale=[1.0] * 5, offset=[0.0] * 5), b"12"), "malformed"),
        (handmade(header_with(encoding="u8", nbytes=2, scale=[1e300], offset=[0.0]), b"12"), "malformed"),
        (handmade(header_with(encoding="u8", nbytes=2, scale=[1.0], offset=[-1e300]), b"12"), "malformed"),
        (handmade(header_with(encoding="u8", nbytes=2, scale=[math.inf], offset=[0.0]), b"12"), "malformed"),
        (handmade(header_with(), b"12345678") + b"x", "malformed"),
        (handmade(header_with(), b"12345678")[:-3], "truncated"),
        (b"\x91" * 200_000, "malformed"),
    ],
)
def test_bytes_that_are_not_a_frame_are_refused_with_a_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(FrameError) as caught:
        open_frame(payload)
    assert caught.value.reason == reason


def test_declared_sizes_are_checked_before_anything_is_allocated() -> None:
    bomb = handmade(header_with(shape=[2**20, 2**10], zstd=True, nbytes=8), b"12345678")
    tracemalloc.start()
    with pytest.raises(FrameError, match="the limit is"):
        open_frame(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_the_largest_scale_decodes_without_a_warning() -> None:
    largest = float(np.finfo(np.float32).max)
    frame = open_frame(handmade(header_with(encoding="u8", nbytes=2, scale=[largest], offset=[largest]), b"\0\2"))
    assert frame.arrays()["x"].tolist() == [largest, math.inf]


@pytest.mark.parametrize("shape", [[0, 2**31, 2**31, 2**31], [2**31, 0, 2**31], [0] + [2**31] * 7])
def test_an_empty_tensor_of_an_impossible_shape_is_refused(shape: list[int]) -> None:
    with pytest.raises(FrameError, match="no frame can hold"):
        open_frame(handmade(header_with(shape=shape, nbytes=0), b"")).arrays()


@given(
    shape=st.lists(st.sampled_from([0, 1, 2, 3, 255, 2**16, 2**31]), max_size=8),
    dtype=st.sampled_from(DTYPES),
    encoding=st.sampled_from(["raw", "fp16", "u8"]),
    zstd=st.booleans(),
    data=st.binary(max_size=40),
)
def test_any_description_of_any_bytes_is_a_frame_or_a_frame_error(shape, dtype, encoding, zstd, data) -> None:
    scale = [1.0] if encoding == "u8" else []
    described = header_with(
        shape=shape, dtype=dtype, encoding=encoding, zstd=zstd, nbytes=len(data), scale=scale, offset=scale
    )
    try:
        open_frame(handmade(described, data)).arrays()
    except FrameError:
        return


def test_a_header_larger_than_its_limit_is_refused() -> None:
    big = HEADER.model_dump(exclude_defaults=True) | {"trace": ["x" * 8000] * 60}
    with pytest.raises(FrameError):
        open_frame(handmade(big), FrameLimits(header_bytes=10_000))


def test_a_frame_larger_than_its_limit_is_refused_unread() -> None:
    with pytest.raises(FrameError, match="the limit is 100"):
        open_frame(encode_frame(HEADER, {"x": np.zeros(200)}), FrameLimits(frame_bytes=100))


def test_zstd_data_that_unpacks_to_another_size_is_refused() -> None:
    honest = encode_frame(HEADER, {"x": np.zeros(1000, np.float32)}, "fp32+zstd")
    header = msgpack.unpackb(honest)[0]
    lying = open_frame(
        handmade(header | {"tensors": [header["tensors"][0] | {"shape": [10]}]}, msgpack.unpackb(honest)[1])
    )
    with pytest.raises(FrameError, match="40 bytes expected"):
        lying.arrays()


def test_threads_that_compress_at_once_do_not_disturb_each_other() -> None:
    """zstandard lets go of the interpreter's lock while it works, and its objects keep state."""
    rng = np.random.default_rng(3)
    tensors = [rng.integers(0, 4, 400_000).astype(np.float32) for _ in range(4)]
    start = threading.Barrier(len(tensors))

    def go(tensor: np.ndarray) -> list[bytes]:
        start.wait(10)
        return [encode_frame(HEADER, {"x": tensor}, "fp32+zstd") for _ in range(10)]

    with ThreadPoolExecutor(len(tensors)) as pool:
        for tensor, payloads in zip(tensors, pool.map(go, tensors), strict=True):
            for payload in payloads:
                np.testing.assert_array_equal(open_frame(payload).arrays()["x"], tensor)


def test_zstd_data_that_is_not_zstd_is_refused() -> None:
    with pytest.raises(FrameError, match="zstd"):
        open_frame(handmade(header_with(zstd=True), b"12345678")).arrays()


@settings(max_examples=300)
@given(payload=st.binary(max_size=400))
def test_random_bytes_are_a_frame_or_a_frame_error(payload: bytes) -> None:
    try:
        frame = open_frame(payload)
    except FrameError:
        return
    assert isinstance(frame, Frame)


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_frame_is_a_frame_or_a_frame_error(data: st.DataObject) -> None:
    codec = data.draw(st.sampled_from(["fp32", "fp16", "u8", "u8+zstd"]))
    whole = bytearray(encode_frame(HEADER, {"x": np.arange(60, dtype=np.float32).reshape(1, 3, 20)}, codec))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    try:
        open_frame(bytes(whole[:cut])).arrays()
    except FrameError:
        return
