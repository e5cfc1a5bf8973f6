"""One blob while it arrives in pieces. What is written survives a restart; only a checked blob is put in its place."""

from __future__ import annotations

import fcntl
import os
import shutil
import weakref
from pathlib import Path
from types import TracebackType
from typing import Self

from models.blobs import BlobStore, WrongHashError
from models.durable import StoreFullError, file_sha256, room_errors, sync_folder, write_all
from schemas.model import Blob


class PartialBlob:
    """The bytes of `blob` that are here so far, and the way to add the next ones. One writer at a time."""

    def __init__(self, store: BlobStore, blob: Blob) -> None:
        self._store = store
        self._blob = blob
        folder = store.root / "partial"
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / blob.sha256
        self._handle = _open(self._path)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # Another process fetches the same blob into the same folder: stay out of its way.
            os.close(self._handle)
            self._path = folder / f"{blob.sha256}.{os.getpid()}"
            self._handle = _open(self._path)
        # While it arrives it must not be what makes room for others.
        store.pin([self._path.name])
        self._release = weakref.finalize(self, _release, store, self._path.name, self._handle)
        if self.offset > blob.nbytes:
            os.ftruncate(self._handle, 0)
        store.make_room(blob.nbytes - self.offset)
        missing = blob.nbytes - self.offset - shutil.disk_usage(folder).free
        if missing > 0:
            raise StoreFullError(store.root, missing, "the disk is full")

    @property
    def offset(self) -> int:
        """Bytes here so far: where to continue."""
        return os.fstat(self._handle).st_size

    def append(self, data: bytes | memoryview) -> None:
        """Add the next bytes.

        Raises:
            WrongHashError: more bytes than the blob has; all are discarded.
            StoreFullError: the disk is full; what was there before stays, to continue from.
        """
        offset = self.offset
        if offset + len(data) > self._blob.nbytes:
            self.discard()
            raise WrongHashError(self._blob.sha256, f"{offset + len(data)} bytes instead of {self._blob.nbytes}")
        with room_errors(self._store.root, self._blob.nbytes - offset):
            try:
                write_all(self._handle, data)
            except OSError:
                os.ftruncate(self._handle, offset)
                raise

    def finish(self) -> Path:
        """Check the whole blob and put it in its place.

        Raises:
            WrongHashError: the bytes are others or too few; they are discarded.
            StoreFullError: the disk is full.
        """
        offset = self.offset
        found = file_sha256(self._path)
        if found != self._blob.sha256:
            self.discard()
            short = f"{offset} bytes instead of {self._blob.nbytes}" if offset != self._blob.nbytes else found[:12]
            raise WrongHashError(self._blob.sha256, short)
        with room_errors(self._store.root, self._blob.nbytes):
            os.fsync(self._handle)
        target = self._store.root / self._blob.sha256
        self._path.replace(target)
        sync_folder(self._store.root)
        self._release()
        return target

    def discard(self) -> None:
        """Throw away what has arrived; the next `append` starts at offset 0."""
        os.ftruncate(self._handle, 0)

    def close(self) -> None:
        """Let another writer go on from here; nothing may be added any more. What has arrived stays."""
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _release(store: BlobStore, name: str, handle: int) -> None:
    store.unpin([name])
    os.close(handle)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
