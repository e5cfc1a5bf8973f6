"""Blobs on disk: whole or not at all, checked, resumable, bounded; and a full disk said plainly."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models import blobs, durable
from models.library import BlobStore, MissingBlobError, StoreFullError, WrongHashError
from schemas.model import Blob


def blob_of(data: bytes) -> Blob:
    return Blob(sha256=hashlib.sha256(data).hexdigest(), nbytes=len(data))


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def test_what_was_added_can_be_read_by_its_hash(store: BlobStore) -> None:
    blob = store.add(b"weights")
    assert blob == blob_of(b"weights")
    assert store.has(blob.sha256)
    assert store.read(blob.sha256) == b"weights"
    assert store.add(b"weights") == blob
    assert store.total_bytes() == 7


def test_a_blob_that_is_not_here_says_so(store: BlobStore) -> None:
    with pytest.raises(MissingBlobError, match="fetch it from the hub"):
        store.read("0" * 64)


def test_a_damaged_file_is_noticed_before_it_is_used_and_removed(store: BlobStore) -> None:
    sha = store.add(b"good").sha256
    (store.root / sha).write_bytes(b"evil")
    with pytest.raises(WrongHashError, match="fetch it again"):
        store.path(sha)
    assert not store.has(sha)


def test_a_file_that_changes_after_it_was_checked_is_checked_again(store: BlobStore) -> None:
    sha = store.add(b"good").sha256
    store.path(sha)
    (store.root / sha).write_bytes(b"damaged later")
    with pytest.raises(WrongHashError):
        store.path(sha)


def test_pinning_does_not_wait_while_another_thread_hashes(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = store.add(b"large").sha256, store.add(b"small").sha256
    hashing, go_on = threading.Event(), threading.Event()

    def slow_sha256(path: Path) -> str:
        if path.name == one:
            hashing.set()
            assert go_on.wait(30)
        return path.name

    monkeypatch.setattr(blobs, "file_sha256", slow_sha256)
    with ThreadPoolExecutor(3) as threads:
        try:
            checked = [threads.submit(store.path, one) for _ in range(2)]
            assert hashing.wait(30)
            for job in (store.pin, store.unpin):
                threads.submit(job, [one]).result(30)
            assert threads.submit(store.path, other).result(30).name == other
            assert not checked[0].done()
        finally:
            go_on.set()
        assert [check.result(30).name for check in checked] == [one, one]


def test_a_blob_that_is_evicted_while_it_is_hashed_is_missing(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = store.add(b"data").sha256

    def evicted(path: Path) -> str:
        path.unlink()
        return durable.file_sha256(path)

    monkeypatch.setattr(blobs, "file_sha256", evicted)
    with pytest.raises(MissingBlobError):
        store.path(sha)


def test_a_blob_arrives_in_pieces(store: BlobStore) -> None:
    data = b"abcdefgh" * 100
    partial = store.partial(blob_of(data))
    for start in range(0, len(data), 300):
        assert partial.offset == start
        partial.append(data[start : start + 300])
    assert not store.has(blob_of(data).sha256)
    assert partial.finish() == store.path(blob_of(data).sha256)
    assert store.read(blob_of(data).sha256) == data


def test_an_interrupted_blob_continues_where_it_stopped_after_a_restart(store: BlobStore) -> None:
    data = bytes(range(256)) * 4
    store.partial(blob_of(data)).append(data[:700])
    again = BlobStore(store.root).partial(blob_of(data))
    assert again.offset == 700
    again.append(data[700:])
    again.finish()
    assert store.read(blob_of(data).sha256) == data


def test_pieces_that_add_up_to_other_bytes_are_discarded(store: BlobStore) -> None:
    partial = store.partial(blob_of(b"expected"))
    partial.append(b"received")
    with pytest.raises(WrongHashError, match="discarded"):
        partial.finish()
    assert partial.offset == 0
    assert not store.has(blob_of(b"expected").sha256)
    partial.append(b"expected")
    partial.finish()
    assert store.read(blob_of(b"expected").sha256) == b"expected"


def test_more_bytes_than_the_blob_has_are_refused_at_once(store: BlobStore) -> None:
    partial = store.partial(blob_of(b"four"))
    with pytest.raises(WrongHashError, match="9 bytes instead of 4"):
        partial.append(b"too much!")
    assert partial.offset == 0


def test_a_blob_that_stopped_early_is_not_put_in_place(store: BlobStore) -> None:
    partial = store.partial(blob_of(b"all of it"))
    partial.append(b"all")
    with pytest.raises(WrongHashError, match="3 bytes instead of 9"):
        partial.finish()


def test_an_empty_blob_is_a_blob(store: BlobStore) -> None:
    assert store.partial(blob_of(b"")).finish().read_bytes() == b""


def test_two_fetchers_of_one_blob_do_not_mix_their_bytes(store: BlobStore) -> None:
    data = b"0123456789"
    one, two = store.partial(blob_of(data)), BlobStore(store.root).partial(blob_of(data))
    one.append(data[:5])
    two.append(data[:3])
    one.append(data[5:])
    two.append(data[3:])
    one.finish()
    two.finish()
    assert store.read(blob_of(data).sha256) == data


def test_least_recently_used_blobs_make_room(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, max_bytes=300)
    old, used, new = (bytes([i]) * 100 for i in range(3))
    for data in (old, used, new):
        age(store, store.add(data).sha256, 1000)
    store.path(blob_of(used).sha256)
    age(store, blob_of(old).sha256, 2000)
    store.add(b"x" * 100)
    assert [store.has(blob_of(data).sha256) for data in (old, used, new)] == [False, True, True]
    store.add(b"y" * 200)
    assert store.total_bytes() <= 300
    assert store.has(blob_of(b"y" * 200).sha256)


def age(store: BlobStore, sha: str, seconds: int) -> None:
    path = store.root / sha
    os.utime(path, (path.stat().st_mtime - seconds, path.stat().st_mtime))


def test_blobs_in_use_are_never_evicted_and_the_error_says_how_much_is_missing(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, max_bytes=250)
    held, loose = store.add(b"a" * 100).sha256, store.add(b"b" * 100).sha256
    store.pin([held, held])
    store.unpin([held])
    with pytest.raises(StoreFullError, match="the store's bound") as caught:
        store.add(b"c" * 200)
    assert caught.value.missing_bytes == 50
    assert store.has(loose), "nothing is evicted in vain"
    store.unpin([held])
    store.add(b"c" * 200)
    assert not store.has(held)


def test_an_arriving_blob_counts_and_is_not_evicted_by_the_next(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, max_bytes=100)
    partial = store.partial(blob_of(b"a" * 80))
    partial.append(b"a" * 60)
    with pytest.raises(StoreFullError):
        store.add(b"b" * 50)
    partial.append(b"a" * 20)
    partial.finish()
    store.add(b"b" * 50)
    assert not store.has(blob_of(b"a" * 80).sha256)


def test_an_abandoned_piece_makes_room(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, max_bytes=100)
    store.partial(blob_of(b"a" * 80)).append(b"a" * 60)
    store.add(b"b" * 90)
    assert store.total_bytes() == 90


def test_a_full_disk_is_said_plainly_and_leaves_nothing_behind(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable.os, "write", full_disk)
    with pytest.raises(StoreFullError, match=r"No space left on device.*free some space"):
        store.add(b"data")
    assert list(store.root.iterdir()) == []


def test_what_a_killed_writer_left_behind_is_swept_away_later(store: BlobStore) -> None:
    store.add(b"first")
    left, fresh = store.root / ".new-0123", store.root / ".new-4567"
    left.write_bytes(b"half a blob")
    fresh.write_bytes(b"somebody is writing this")
    os.utime(left, (0, 0))
    store.add(b"second")
    assert not left.exists()
    assert fresh.exists()


def test_blobs_are_readable_as_the_umask_says(store: BlobStore) -> None:
    umask = os.umask(0o022)
    try:
        assert store.path(store.add(b"data").sha256).stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(umask)


def test_a_disk_that_fills_up_while_a_blob_arrives_keeps_what_was_there(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = store.partial(blob_of(b"0123456789"))
    partial.append(b"01234")
    with monkeypatch.context() as patched:
        patched.setattr(durable.os, "write", full_disk)
        with pytest.raises(StoreFullError):
            partial.append(b"56789")
    assert partial.offset == 5
    partial.append(b"56789")
    partial.finish()
    assert store.has(blob_of(b"0123456789").sha256)


def full_disk(_handle: int, _data: bytes) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_blob_larger_than_the_disk_is_refused_before_a_byte_is_fetched(store: BlobStore) -> None:
    with pytest.raises(StoreFullError, match="the disk is full"):
        store.partial(Blob(sha256="0" * 64, nbytes=1 << 46))


def test_a_real_size_limit_stops_a_real_write_in_the_middle(tmp_path: Path) -> None:
    """The kernel cuts a write short at RLIMIT_FSIZE as it does on a full disk: first fewer bytes, then an error."""
    script = """
        import hashlib, resource, signal, sys
        from pathlib import Path
        from models.library import BlobStore, StoreFullError
        from schemas.model import Blob
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        store = BlobStore(Path(sys.argv[1]))
        data = b"z" * 80_000
        partial = store.partial(Blob(sha256=hashlib.sha256(data).hexdigest(), nbytes=len(data)))
        partial.append(data[:30_000])
        try:
            partial.append(data[30_000:])
        except StoreFullError:
            sys.exit(0 if partial.offset == 30_000 else 3)
        sys.exit(4)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0
