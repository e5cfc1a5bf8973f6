"""Bytes known by their SHA-256 on disk: written whole or not at all, checked, resumable, bounded in size.

Layout: `<root>/<sha256>` for every complete blob (flat, so that a runtime can map blobs as external data of a graph),
`<root>/partial/<sha256>` for the ones still arriving (see `models.partial`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from threading import Lock, RLock
from typing import TYPE_CHECKING

from models.durable import StoreFullError, file_sha256, write_file
from schemas.base import Sha256
from schemas.model import Blob

if TYPE_CHECKING:
    from models.partial import PartialBlob


class WrongHashError(ValueError):
    """Bytes that are not what their name says. They were thrown away: fetch them again."""

    def __init__(self, sha256: str, found: str) -> None:
        super().__init__(f"blob {sha256[:12]} came with other bytes ({found}): discarded; fetch it again")


class MissingBlobError(LookupError):
    """A blob that is not here."""

    def __init__(self, sha256: str, root: Path) -> None:
        super().__init__(f"blob {sha256[:12]} is not in {root}: fetch it from the hub, or import the model again")


class BlobStore:
    """A folder of blobs. With `max_bytes`, least recently used blobs make room for new ones, except pinned ones.

    Safe for the threads of one process. Several processes may share an unbounded store; a bounded one belongs to one
    process, because pins are its own.
    """

    def __init__(self, root: Path, max_bytes: int | None = None) -> None:
        self.root = root
        self.max_bytes = max_bytes
        self._pinned: Counter[str] = Counter()
        self._verified: dict[str, tuple[int, int, int]] = {}
        self._checking: dict[str, Lock] = {}
        # Re-entrant: the collector may end an abandoned partial blob, and so unpin it, wherever this thread stands.
        self._lock = RLock()

    def has(self, sha256: Sha256) -> bool:
        """Whether the whole blob is here."""
        return (self.root / sha256).is_file()

    def path(self, sha256: Sha256) -> Path:
        """Where the blob lies, after checking its bytes (once per process and file). Counts as a use.

        Raises:
            MissingBlobError: it is not here.
            WrongHashError: the file was damaged; it is removed.
        """
        path = self.root / sha256
        with self._lock:
            checking = self._checking.setdefault(sha256, Lock())
        # Hashing takes seconds: only who wants the same blob waits for it, never who pins.
        with checking:
            try:
                stat = path.stat()
                if self.max_bytes is not None:
                    # Access time is the recency that eviction goes by; many file systems do not keep it themselves.
                    os.utime(path, ns=(time.time_ns(), stat.st_mtime_ns))
                identity = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
                if self._verified.get(sha256) == identity:
                    return path
                found = file_sha256(path)
            except FileNotFoundError as error:
                raise MissingBlobError(sha256, self.root) from error
            if found != sha256:
                path.unlink(missing_ok=True)
                raise WrongHashError(sha256, found[:12])
            self._verified[sha256] = identity
        return path

    def read(self, sha256: Sha256) -> bytes:
        """The checked bytes of a blob.

        Raises:
            MissingBlobError, WrongHashError: as `path`.
        """
        return self.path(sha256).read_bytes()

    def add(self, data: bytes) -> Blob:
        """Store bytes under their hash; nothing happens when they are here already.

        Raises:
            StoreFullError: no room.
        """
        blob = Blob(sha256=hashlib.sha256(data).hexdigest(), nbytes=len(data))
        if not self.has(blob.sha256):
            self.make_room(blob.nbytes)
            write_file(self.root / blob.sha256, data)
        return blob

    def partial(self, blob: Blob) -> PartialBlob:
        """Where to continue a blob that arrives in pieces; a restart continues where the last one stopped.

        Raises:
            StoreFullError: no room for what is still missing.
        """
        from models.partial import PartialBlob  # noqa: PLC0415 - the two know each other

        return PartialBlob(self, blob)

    def remove(self, sha256: Sha256) -> None:
        """Forget a blob; nothing happens when it is not here."""
        (self.root / sha256).unlink(missing_ok=True)

    def total_bytes(self) -> int:
        """Bytes of all blobs, arriving ones included."""
        return sum(size for _, size, _ in self._files())

    def pin(self, shas: Iterable[str]) -> None:
        """Blobs in use: not evicted until as many `unpin`."""
        with self._lock:
            self._pinned.update(shas)

    def unpin(self, shas: Iterable[str]) -> None:
        """Undo one `pin` of each."""
        with self._lock:
            self._pinned.subtract(shas)
            self._pinned = +self._pinned

    def make_room(self, nbytes: int) -> None:
        """Evict least recently used blobs, and unfinished ones, until `nbytes` more fit the bound.

        Raises:
            StoreFullError: pinned blobs leave too little; says how much is missing. Nothing is evicted then.
        """
        if self.max_bytes is None:
            return
        with self._lock:
            files = sorted(self._files())
            excess = sum(size for _, size, _ in files) + nbytes - self.max_bytes
            loose = [(size, path) for _, size, path in files if path.name not in self._pinned]
            missing = excess - sum(size for size, _ in loose)
            if missing > 0:
                raise StoreFullError(self.root, missing, f"the store's bound is {self.max_bytes / 1e6:.1f} MB")
            for size, path in loose:
                if excess <= 0:
                    break
                path.unlink(missing_ok=True)
                excess -= size

    def _files(self) -> list[tuple[int, int, Path]]:
        """(last use, size, path) of every blob, complete or arriving."""
        found: list[tuple[int, int, Path]] = []
        for folder in (self.root, self.root / "partial"):
            for path in folder.glob("[0-9a-f]" * 64 + "*"):
                with contextlib.suppress(FileNotFoundError):  # another process removed it meanwhile
                    stat = path.stat()
                    found.append((stat.st_atime_ns, stat.st_size, path))
        return found
