"""Stage runners, shared: stages of the same slice use one runner, over generations and deployments.

So a new plan that leaves a slice where it is costs nothing. Building and closing happen in a thread of their own, at
lower priority than the compute thread, which goes on serving.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeVar

import numpy as np

from models.library import BlobStore, MissingBlobError, WrongHashError
from models.rows.band import load_band
from models.runtime import Backend, StageRunner, load_stage
from models.runtime.heap import return_freed_memory
from schemas.model import ModelCard
from services.worker.assignments import Slice
from services.worker.fetch import Fetcher

logger = logging.getLogger(__name__)

R = TypeVar("R")

WARM_RUNS: Final = 2
_CLOSE_WITHIN_S: Final = 2.0
"""When the worker stops: a runner that still computes after that is left to the process."""
_BUILD_NICE: Final = 5
"""Yields most of a small quota to serving, yet ends soon: a plan waits for it."""


class BuildError(Exception):
    """A slice that the backend cannot run; the message holds what it said."""


class _Shared:
    """One slice's runner, made or in the making; its task is its whole life."""

    def __init__(self) -> None:
        self.made: asyncio.Future[StageRunner] = asyncio.get_running_loop().create_future()
        self.unused = asyncio.Event()
        self.users = 0
        self.progress = 0.0
        self.fetching = True
        self.task: asyncio.Task[None] | None = None


class Runners:
    """Makes, shares and closes runners. Use as an async context manager."""

    def __init__(
        self,
        fetcher: Fetcher,
        store: BlobStore,
        *,
        backend: Backend,
        threads: int,
        quiet: Callable[[], Awaitable[None]],
    ) -> None:
        """`quiet()` returns when nothing that began before computes any more: then a runner may be closed."""
        self._fetcher = fetcher
        self._store = store
        self._backend: Backend = backend
        self._threads = threads
        self._quiet = quiet
        self._shared: dict[Slice, _Shared] = {}
        self._lives: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        # Threads that a runtime starts inherit the priority, so only a runner that needs none may be built at a lower.
        nice = _BUILD_NICE if self._threads == 1 else 0
        self._builder = ThreadPoolExecutor(1, thread_name_prefix="build", initializer=_be_nice, initargs=(nice,))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lives:
            _, computing = await asyncio.wait(self._lives, timeout=_CLOSE_WITHIN_S)
            for life in computing:
                life.cancel()
            await asyncio.gather(*computing, return_exceptions=True)
        self._builder.shutdown(wait=True, cancel_futures=True)

    def progress(self, slice_: Slice) -> float:
        """Share of the missing bytes that has come, 0 to 1."""
        return self._shared[slice_].progress if slice_ in self._shared else 0.0

    @asynccontextmanager
    async def borrow(
        self, model: str, slice_: Slice, card: ModelCard, news: Callable[[], None]
    ) -> AsyncIterator[StageRunner]:
        """A warm runner for as long as the context lasts; closed when its last borrower has gone.

        Args:
            model: whose blobs are asked for.
            slice_: what it runs.
            card: the card with that hash.
            news: called as fetching progresses.

        Raises:
            services.worker.fetch.FetchError: a blob cannot be had.
            models.library.StoreFullError: the cache cannot hold it.
            BuildError: the backend refuses the slice, or fails to run it on zeros.
        """
        shared = self._shared.get(slice_)
        if shared is None:
            shared = self._shared[slice_] = _Shared()
            shared.task = asyncio.create_task(self._live(shared, model, slice_, card, news))
            self._lives.add(shared.task)
            shared.task.add_done_callback(self._lives.discard)
        shared.users += 1
        try:
            yield await asyncio.shield(shared.made)
        finally:
            shared.users -= 1
            if shared.users == 0:
                del self._shared[slice_]
                shared.unused.set()
                if shared.fetching and shared.task:
                    shared.task.cancel()

    async def _live(
        self, shared: _Shared, model: str, slice_: Slice, card: ModelCard, news: Callable[[], None]
    ) -> None:
        def came(share: float) -> None:
            shared.progress = share
            news()

        blobs = (card.graph, *card.stage_blobs(slice_.first, slice_.last))
        hashes = [blob.sha256 for blob in blobs]
        self._store.pin(hashes)
        try:
            for last_try in (False, True):
                shared.fetching = True
                await self._fetcher.fetch(model, blobs, came)
                shared.progress, shared.fetching = 1.0, False
                try:
                    runner = await self._build(_build, card, self._store, slice_, self._backend, self._threads)
                    break
                except (WrongHashError, MissingBlobError) as error:
                    # The cache was damaged while nobody looked; the store has thrown the bad copy away.
                    if last_try:
                        raise BuildError(str(error)) from error
                    logger.warning("fetching again: %s", error, extra={"model": model})
            shared.made.set_result(runner)
            await shared.unused.wait()
            await self._quiet()
            await self._build(_close, runner)
        except Exception as error:
            # Those who borrow get it; whether it is fatal is theirs to say.
            if shared.made.done():
                raise
            shared.made.set_exception(error)
            shared.made.exception()
        finally:
            self._store.unpin(hashes)

    async def _build(self, job: Callable[..., R], *arguments: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._builder, partial(job, *arguments))


def _build(card: ModelCard, store: BlobStore, slice_: Slice, backend: Backend, threads: int) -> StageRunner:
    """Make a runner and run it on zeros, so that the first real frame finds everything allocated and chosen."""
    try:
        if slice_.rows:
            takes, gives = slice_.rows
            runner = load_band(card, store, slice_.last, takes, gives, backend=backend, threads=threads)
        else:
            first, last, exits = slice_.first, slice_.last, slice_.exits
            runner = load_stage(card, store, first, last, exits=exits, backend=backend, threads=threads)
        zeros = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in runner.inputs}
        for _ in range(WARM_RUNS):
            runner.run(zeros)
    except (WrongHashError, MissingBlobError):
        raise
    except Exception as error:
        # A model is somebody's code: whatever its backend says about it is this stage's failure, not the worker's.
        raise BuildError(
            f"blocks [{slice_.first}:{slice_.last}) do not run on {backend} here: {type(error).__name__}: {error}"
        ) from error
    return runner


def _close(runner: StageRunner) -> None:
    runner.close()
    return_freed_memory()


def _be_nice(nice: int) -> None:
    """Lower this thread's priority, where threads have one of their own."""
    if hasattr(os, "setpriority") and sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + nice)
