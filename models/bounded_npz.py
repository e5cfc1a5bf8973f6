"""Arrays from an `.npz` file that may be from anywhere: nothing is unpickled, and only so much is unpacked."""

from __future__ import annotations

import struct
import zipfile
import zlib
from tokenize import TokenError
from typing import IO, Any, Final

import numpy as np

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]

_UNREADABLE: Final = (
    zipfile.BadZipFile, zlib.error, struct.error, ValueError, ArithmeticError, OSError, EOFError, LookupError,
    SyntaxError, TokenError, RuntimeError, MemoryError, TypeError,
)  # fmt: skip
"""What numpy and zipfile raise of files that somebody has damaged, or made to be read wrongly."""


class BadArraysError(ValueError):
    """A file that is no `.npz` of plain arrays, or that unpacks to too much; says which."""


def bounded_npz(file: IO[bytes], *, most_bytes: int, most_arrays: int) -> Arrays:
    """Every array of an `.npz` file, by name.

    Args:
        file: open for reading, at any place.
        most_bytes: that they may have when unpacked, all together.
        most_arrays: how many there may be.

    Raises:
        BadArraysError: see there.
    """
    try:
        _check_size(file, most_bytes, most_arrays)
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            return {name: np.asarray(arrays[name]) for name in arrays.files}
    except BadArraysError:
        raise
    except _UNREADABLE as error:
        raise BadArraysError(f"it is no .npz of plain arrays ({error or type(error).__name__})") from error


def _check_size(file: IO[bytes], most_bytes: int, most_arrays: int) -> None:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    # What an entry says of its size is all that is ever unpacked of it.
    if len(entries) > most_arrays or sum(entry.file_size for entry in entries) > most_bytes:
        raise BadArraysError(f"it unpacks to more than {most_arrays} arrays or {most_bytes >> 20} MB")
