"""Blobs over a real broker: resumed, checked, shared, refused with a reason."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from broker.bus import Bus
from models.library import BlobStore, StoreFullError
from schemas.model import Blob
from services.worker import fetch as fetching
from services.worker.fetch import CHUNK_BYTES, Fetcher, FetchError


@asynccontextmanager
async def a_fetcher(lab: Any, store: BlobStore) -> AsyncIterator[Fetcher]:
    async with Bus(lab.url, name="pi4", root=lab.root) as bus:
        fetcher = Fetcher(bus.bulk, store, "pi4")
        loop = asyncio.create_task(fetcher.run())
        try:
            yield fetcher
        finally:
            loop.cancel()
            await asyncio.wait([loop])


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "cache")


def large(lab: Any) -> Blob:
    blob: Blob = max(lab.card.blobs, key=lambda blob: blob.nbytes)
    assert blob.nbytes > 4 * CHUNK_BYTES
    return blob


async def test_all_blobs_come_and_progress_ends_at_one(lab: Any, store: BlobStore) -> None:
    shares: list[float] = []
    async with a_fetcher(lab, store) as fetcher:
        blobs = (lab.card.graph, *lab.card.blobs)
        await fetcher.fetch("dense", blobs, shares.append)
        asked = lab.hub.requested.total()
        await fetcher.fetch("dense", blobs, shares.append)
    for blob in blobs:
        assert store.read(blob.sha256) == lab.hub.library.blobs.read(blob.sha256)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert lab.hub.requested.total() == asked


async def test_a_transfer_goes_on_where_an_earlier_life_stopped(lab: Any, store: BlobStore) -> None:
    blob = large(lab)
    already = 2 * CHUNK_BYTES + 17
    store.partial(blob).append(lab.hub.library.blobs.read(blob.sha256)[:already])
    async with a_fetcher(lab, BlobStore(store.root)) as fetcher:
        await fetcher.fetch("dense", [blob], lambda _: None)
    assert lab.hub.requested[blob.sha256] == -(-(blob.nbytes - already) // CHUNK_BYTES)
    assert store.read(blob.sha256) == lab.hub.library.blobs.read(blob.sha256)


async def test_a_cancelled_transfer_keeps_what_came(lab: Any, store: BlobStore) -> None:
    blob = large(lab)
    some = asyncio.Event()
    lab.hub.hold_after(blob.sha256, requests=2)
    async with a_fetcher(lab, store) as fetcher:
        task = asyncio.create_task(fetcher.fetch("dense", [blob], lambda _: some.set()))
        await asyncio.wait_for(some.wait(), 10)
        await lab.hub.asked(blob.sha256, times=3)
        task.cancel()
        await asyncio.wait([task])
        lab.hub.serving.set()
        await fetcher.fetch("dense", [blob], lambda _: None)
    assert store.has(blob.sha256)
    assert lab.hub.ranges.count((blob.sha256, 0)) == 1


async def test_two_who_want_the_same_blob_share_one_transfer(lab: Any, store: BlobStore) -> None:
    blob = large(lab)
    async with a_fetcher(lab, store) as fetcher:
        await asyncio.gather(*(fetcher.fetch("dense", [blob], lambda _: None) for _ in range(3)))
    assert lab.hub.requested[blob.sha256] == -(-blob.nbytes // CHUNK_BYTES)


async def test_one_who_leaves_does_not_stop_the_transfer_for_the_other(lab: Any, store: BlobStore) -> None:
    blob = large(lab)
    lab.hub.serving.clear()
    async with a_fetcher(lab, store) as fetcher:
        stays = asyncio.create_task(fetcher.fetch("dense", [blob], lambda _: None))
        leaves = asyncio.create_task(fetcher.fetch("dense", [blob], lambda _: None))
        await asyncio.sleep(0)
        leaves.cancel()
        await asyncio.wait([leaves])
        lab.hub.serving.set()
        await asyncio.wait_for(stays, 10)
    assert store.has(blob.sha256)


async def test_a_blob_that_came_damaged_is_fetched_again(lab: Any, store: BlobStore) -> None:
    blob = lab.card.blobs[0]
    lab.hub.corrupt[blob.sha256] = 1
    async with a_fetcher(lab, store) as fetcher:
        await fetcher.fetch("dense", [blob], lambda _: None)
    assert store.read(blob.sha256) == lab.hub.library.blobs.read(blob.sha256)


async def test_a_blob_that_is_always_damaged_is_given_up_with_a_reason(lab: Any, store: BlobStore) -> None:
    blob = lab.card.blobs[0]
    lab.hub.corrupt[blob.sha256] = 99
    async with a_fetcher(lab, store) as fetcher:
        with pytest.raises(FetchError, match=r"came damaged 3 times.*import the model there again"):
            await fetcher.fetch("dense", [blob], lambda _: None)
    assert not store.has(blob.sha256)


async def test_a_hub_without_the_blob_says_why(lab: Any, store: BlobStore) -> None:
    blob = lab.card.blobs[0]
    lab.hub.refuse[blob.sha256] = "it is not in the library"
    async with a_fetcher(lab, store) as fetcher:
        with pytest.raises(FetchError, match=r"the hub cannot send blob .* it is not in the library"):
            await fetcher.fetch("dense", [blob], lambda _: None)


async def test_a_request_that_nobody_answers_is_made_again(
    lab: Any, store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.05)
    blob = lab.card.blobs[0]
    lab.hub.deaf.add(blob.sha256)
    async with a_fetcher(lab, store) as fetcher:
        task = asyncio.create_task(fetcher.fetch("dense", [blob], lambda _: None))
        await lab.hub.asked(blob.sha256, times=2)
        lab.hub.deaf.clear()
        await asyncio.wait_for(task, 10)
    assert store.has(blob.sha256)


async def test_a_bounded_cache_makes_room_but_never_of_what_is_in_use(lab: Any, tmp_path: Path) -> None:
    blob = large(lab)
    store = BlobStore(tmp_path / "cache", max_bytes=blob.nbytes + 500_000)
    old = store.add(os.urandom(400_000))
    used = store.add(os.urandom(400_000))
    store.pin([used.sha256])
    async with a_fetcher(lab, store) as fetcher:
        await fetcher.fetch("dense", [blob], lambda _: None)
        assert (store.has(old.sha256), store.has(used.sha256)) == (False, True)
        store.pin([blob.sha256])
        with pytest.raises(StoreFullError, match="MB missing"):
            await fetcher.fetch("dense", lab.card.blobs, lambda _: None)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Writing fails once that many bytes were written, as on a full disk."""
    real, written = os.write, 0

    def arm(after_bytes: int) -> None:
        def write(descriptor: int, data: Any) -> int:
            nonlocal written
            # Small writes are the event loop's own.
            if len(data) > 1000:
                written += len(data)
                if written > after_bytes:
                    raise OSError(errno.ENOSPC, "No space left on device")
            return real(descriptor, data)

        monkeypatch.setattr(os, "write", write)

    return arm


async def test_a_disk_that_fills_up_says_how_much_is_missing_and_keeps_what_came(
    lab: Any, store: BlobStore, full_disk: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = large(lab)
    async with a_fetcher(lab, store) as fetcher:
        full_disk(3 * CHUNK_BYTES)
        with pytest.raises(StoreFullError, match=r"MB missing .*No space left"):
            await fetcher.fetch("dense", [blob], lambda _: None)
        monkeypatch.undo()
        assert store.partial(blob).offset == 3 * CHUNK_BYTES
        await fetcher.fetch("dense", [blob], lambda _: None)
    assert store.has(blob.sha256)


async def test_a_stage_whose_blobs_do_not_fit_the_cache_fails_with_what_is_missing(lab: Any) -> None:
    lab.start("pi4", cache_mb="1")
    plan = lab.plan("pi4[0:)")
    await lab.hub.next(plan)
    failed = await lab.hub.stage("pi4", plan, "failed")
    assert "MB missing" in failed.error
    assert "raise the limit" in failed.error


async def test_a_stage_whose_blob_is_damaged_fails_and_says_what_to_do(lab: Any) -> None:
    lab.start("pi4")
    lab.hub.corrupt[lab.card.blobs[0].sha256] = 99
    plan = lab.plan("pi4[0:)")
    await lab.hub.next(plan)
    failed = await lab.hub.stage("pi4", plan, "failed")
    assert "came damaged 3 times" in failed.error


async def test_a_worker_killed_in_the_middle_of_a_transfer_goes_on_after_its_restart(lab: Any) -> None:
    blob = large(lab)
    partial = lab.cache("pi4") / "partial" / blob.sha256
    partial.parent.mkdir(parents=True)
    partial.write_bytes(lab.hub.library.blobs.read(blob.sha256)[: 4 * CHUNK_BYTES])
    lab.start("pi4")
    plan = lab.plan("pi4[0:)")
    await lab.hub.roll_out(plan)
    assert lab.hub.requested[blob.sha256] == -(-(blob.nbytes - 4 * CHUNK_BYTES) // CHUNK_BYTES)
    assert (await lab.submitter.ask(plan, lab.input())).header.kind == "answer"


async def test_progress_is_reported_while_blobs_come(lab: Any) -> None:
    lab.start("pi4")
    blob = large(lab)
    lab.hub.hold_after(blob.sha256, requests=4)
    plan = lab.plan("pi4[0:)")
    await lab.hub.next(plan)
    await lab.hub.held("pi4", lambda held: any(0 < stage.progress < 1 for stage in held.stages))
    await lab.hub.asked(blob.sha256, times=5)
    lab.hub.serving.set()
    await lab.hub.ready("pi4", plan)


async def test_a_cache_that_was_damaged_on_disk_is_fetched_again(lab: Any) -> None:
    blob = lab.card.blobs[0]
    lab.cache("pi4").mkdir(parents=True)
    (lab.cache("pi4") / blob.sha256).write_bytes(bytes(blob.nbytes))
    lab.start("pi4")
    plan = lab.plan("pi4[0:)")
    await lab.hub.roll_out(plan)
    assert lab.hub.requested[blob.sha256] == 1
    answer = await lab.submitter.ask(plan, lab.input())
    np.testing.assert_allclose(answer.arrays()["y"], lab.whole(lab.input()), rtol=1e-4, atol=1e-5)


async def test_a_cache_that_cannot_be_written_fails_the_stage_and_not_the_worker(lab: Any) -> None:
    (lab.folder / "file").write_text("no folder")
    worker = lab.start("pi4", cache_dir=str(lab.folder / "file"))
    plan = lab.plan("pi4[0:)")
    await lab.hub.next(plan)
    failed = await lab.hub.stage("pi4", plan, "failed")
    assert "Not a directory" in failed.error or "File exists" in failed.error
    assert worker.process.poll() is None
