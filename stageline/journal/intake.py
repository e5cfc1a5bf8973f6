"""Is this file something that a model can be given? Looked at before it is journalled, without decoding it."""

from __future__ import annotations

import math
import os
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final
from zipfile import BadZipFile, ZipFile

import numpy as np
from PIL import Image, UnidentifiedImageError

from models.pictures import MAX_PIXELS
from schemas.frame import DEFAULT_LIMITS
from stageline.inputs import FileContent, is_array_file

MOST_FILE_BYTES: Final = DEFAULT_LIMITS.frame_bytes
"""More would fit no frame."""
_MOST_ARRAYS: Final = 64


class UnfitFileError(ValueError):
    """A file that nobody could run a model on; the message says which and why. It was not journalled."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")


def read_file(path: Path) -> FileContent:
    """The file's content, checked: a picture of sane size, or arrays of plain numbers.

    Raises:
        UnfitFileError: it is neither, too large, or cannot be read.
    """
    try:
        if not path.is_file():
            raise UnfitFileError(str(path), "no such file")
        with path.open("rb") as file:
            data = file.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise UnfitFileError(str(path), error.strerror or str(error)) from error
    if len(data) > MOST_FILE_BYTES:
        raise UnfitFileError(str(path), f"larger than {MOST_FILE_BYTES / 1e6:.0f} MB, which no frame carries")
    # Names need not be text on Linux, and what keeps and shows them wants text.
    content = FileContent(os.fsencode(path.name).decode("utf-8", "replace"), data)
    check(content)
    return content


def check(content: FileContent) -> None:
    """Whether what is in memory looks like what its name says.

    Raises:
        UnfitFileError: it does not.
    """
    try:
        if is_array_file(Path(content.name)):
            _check_arrays(content)
        else:
            _check_picture(content)
    except (OSError, ValueError, SyntaxError, EOFError, KeyError, BadZipFile, Image.DecompressionBombError) as error:
        if isinstance(error, UnfitFileError):
            raise
        raise UnfitFileError(content.name, str(error) or type(error).__name__) from error


def _check_picture(content: FileContent) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(BytesIO(content.data)) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise UnfitFileError(content.name, f"{opened.width} x {opened.height} pixels are too many")
    except UnidentifiedImageError as error:
        raise UnfitFileError(content.name, "neither a picture in a format known here, nor .npy or .npz") from error


def _check_arrays(content: FileContent) -> None:
    if not content.data.startswith(b"PK"):
        _check_array(content.name, BytesIO(content.data), len(content.data))
        return
    with ZipFile(BytesIO(content.data)) as archive:
        members = archive.infolist()
        if not 0 < len(members) <= _MOST_ARRAYS:
            raise UnfitFileError(content.name, f"{len(members)} arrays; 1 to {_MOST_ARRAYS} can be handed over")
        if sum(one.file_size for one in members) > DEFAULT_LIMITS.decoded_bytes:
            raise UnfitFileError(content.name, f"unpacks to more than {DEFAULT_LIMITS.decoded_bytes / 1e6:.0f} MB")
        for one in members:
            with archive.open(one) as member:
                _check_array(f"{content.name}:{one.filename}", member, one.file_size)


def _check_array(name: str, file: BinaryIO | Any, nbytes: int) -> None:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise UnfitFileError(name, f"version {version} of the .npy format is not one of plain numbers")
    if dtype.hasobject:
        raise UnfitFileError(name, "holds Python objects; only arrays of numbers are taken")
    if math.prod(shape) * dtype.itemsize > nbytes:
        raise UnfitFileError(name, f"{list(shape)} {dtype} is more than the file holds")
