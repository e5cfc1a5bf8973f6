"""Files that are either wholly there or not there, and a full disk told apart from other troubles."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_TEMPORARY: Final = ".new-"
_STALE_S: Final = 3600


class StoreFullError(OSError):
    """No room for a file: the disk is full, or the store's own bound is reached by blobs in use."""

    def __init__(self, root: Path, missing_bytes: int, why: str) -> None:
        super().__init__(
            errno.ENOSPC,
            f"no room in {root}: {missing_bytes / 1e6:.1f} MB missing ({why}); free some space or raise the limit",
        )
        self.missing_bytes = missing_bytes


def write_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` by way of a temporary file beside it: on disk before it is seen under its name.

    Raises:
        StoreFullError: the disk is full; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    temporary = path.parent / f"{_TEMPORARY}{secrets.token_hex(8)}"
    with room_errors(path.parent, len(data)):
        # Readable as the umask says, where tempfile would hide it from a service that runs as another user.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            try:
                write_all(handle, data)
                os.fsync(handle)
            finally:
                os.close(handle)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def _sweep(folder: Path) -> None:
    """Remove what a process that was killed in the middle of a write left behind."""
    for path in folder.glob(f"{_TEMPORARY}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _STALE_S:
                path.unlink()


def write_all(handle: int, data: bytes | memoryview) -> None:
    """Write every byte, however many system calls that takes."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def sync_folder(folder: Path) -> None:
    """A rename survives a power cut only once its folder is on disk too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def room_errors(root: Path, nbytes: int) -> Iterator[None]:
    """Turn "disk full", "over quota" and "file too large" into StoreFullError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM or isinstance(error, StoreFullError):
            raise
        raise StoreFullError(root, nbytes, os.strerror(error.errno)) from error
