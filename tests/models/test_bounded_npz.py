"""Saved arrays from anywhere: no more is unpacked than was asked for, and what is no archive is told."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bounded_npz import BadArraysError, bounded_npz


def packed(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


SMALL = packed(a=np.arange(6.0), b=np.ones((2, 3), np.float32))


def test_arrays_come_back() -> None:
    found = bounded_npz(io.BytesIO(SMALL), most_bytes=1000, most_arrays=2)
    np.testing.assert_array_equal(found["a"], np.arange(6.0))
    assert found["b"].dtype == np.float32


@pytest.mark.parametrize(("most_bytes", "most_arrays"), [(100, 2), (1000, 1)])
def test_what_unpacks_to_more_is_refused_before_it_is_unpacked(most_bytes: int, most_arrays: int) -> None:
    with pytest.raises(BadArraysError, match="unpacks to more than"):
        bounded_npz(io.BytesIO(SMALL), most_bytes=most_bytes, most_arrays=most_arrays)


def test_little_that_unpacks_to_much_is_refused() -> None:
    bomb = packed(a=np.zeros(4 << 20, np.uint8))
    assert len(bomb) < 1 << 16
    with pytest.raises(BadArraysError, match="or 1 MB"):
        bounded_npz(io.BytesIO(bomb), most_bytes=1 << 20, most_arrays=4)


@pytest.mark.parametrize("data", [b"", b"junk", packed(a=np.array([{}], object))])
def test_what_is_no_archive_of_arrays_is_refused(data: bytes) -> None:
    with pytest.raises(BadArraysError, match="of plain arrays"):
        bounded_npz(io.BytesIO(data), most_bytes=1000, most_arrays=2)


@settings(max_examples=60)
@given(st.binary(min_size=1, max_size=60), st.integers(0, len(SMALL)))
def test_damaged_archives_are_read_or_refused(noise: bytes, at: int) -> None:
    damaged = SMALL[:at] + noise + SMALL[at + len(noise) :]
    try:
        found = bounded_npz(io.BytesIO(damaged), most_bytes=1000, most_arrays=2)
    except BadArraysError:
        return
    assert len(found) <= 2
