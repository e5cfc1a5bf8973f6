"""A profile and the cache: the graph stays while it is needed, and its loss costs one answer, not the worker."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from models.library import BlobStore, StoreFullError
from schemas.device import Command, Profile
from schemas.model import Blob
from schemas.topics import DEVICE_COMMAND, DEVICE_PROFILE
from services.worker import profiler as profiling
from services.worker.cards import Cards
from services.worker.frame_cost import FrameCost
from services.worker.line import Line
from services.worker.profiler import Machine, Profiler
from services.worker.timing import Timings

MACHINE = Machine(
    device="pi4", boot_id="b", backend="onnxruntime", threads=1, profile_budget_s=0.05,
    memory_left_bytes=lambda: 1 << 30, capacity_cores=lambda: 1.0,
)  # fmt: skip


class FromLibrary:
    """Has every blob at once; `then(blob)` is what happens to the cache right after."""

    def __init__(self, lab: Any, store: BlobStore, then: Callable[[Blob], None]) -> None:
        self._blobs = lab.hub.library.blobs
        self._store = store
        self._then = then

    async def fetch(self, _model: str, blobs: Iterable[Blob], _progress: Callable[[float], None]) -> None:
        for blob in blobs:
            self._store.add(self._blobs.read(blob.sha256))
            self._then(blob)


@asynccontextmanager
async def a_profiler(lab: Any, store: BlobStore, then: Callable[[Blob], None]) -> AsyncIterator[asyncio.Task[None]]:
    bus = lab.hub.bus
    line = Line(bus, "pi4", Timings("pi4", "b"))
    fetcher: Any = FromLibrary(lab, store, then)
    profiler = Profiler(MACHINE, bus=bus, line=line, cards=Cards(bus), fetcher=fetcher, store=store)
    task = asyncio.create_task(profiler.follow())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def profile_after(lab: Any, profiler: asyncio.Task[None], commands: int) -> Profile:
    """What comes of so many commands; raises what ended the profiler if it ended."""
    async with lab.hub.bus.subscribe(DEVICE_PROFILE, device="pi4", model="dense") as profiles:
        for _ in range(commands):
            await lab.hub.bus.publish(DEVICE_COMMAND, Command(kind="profile", model="dense"), device="pi4")
        coming = asyncio.ensure_future(anext(profiles))
        await asyncio.wait([coming, profiler], return_when=asyncio.FIRST_COMPLETED, timeout=20)
        if profiler.done():
            profiler.result()
        profile: Profile = (await asyncio.wait_for(coming, 1)).message
    return profile


@pytest.fixture(autouse=True)
def no_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    async def known(*_: object, **__: object) -> FrameCost:
        return FrameCost(0.1, 0.1)

    monkeypatch.setattr(profiling, "measure_frame_cost", known)


async def test_what_comes_into_a_full_cache_does_not_push_the_graph_out(lab: Any, tmp_path: Path) -> None:
    room = lab.card.graph.nbytes + 1000
    store = BlobStore(tmp_path / "cache", max_bytes=room)

    def more_comes(_: Blob) -> None:
        with pytest.raises(StoreFullError):
            store.add(b"x" * room)

    async with a_profiler(lab, store, more_comes) as profiler:
        assert (await profile_after(lab, profiler, commands=1)).rounds >= 1
    store.add(b"x" * room)
    assert not store.has(lab.card.graph.sha256), "not kept for longer than it is needed"


async def test_a_graph_that_is_gone_before_it_is_read_leaves_one_command_without_an_answer(
    lab: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = BlobStore(tmp_path / "cache")
    losses = iter([store.remove])

    def lost_once(blob: Blob) -> None:
        next(losses, lambda _: None)(blob.sha256)

    async with a_profiler(lab, store, lost_once) as profiler:
        assert (await profile_after(lab, profiler, commands=2)).rounds >= 1
    assert "no profile of dense: blob" in caplog.text
