"""The one thread that computes, for all stages of a worker, so that a small CPU quota is spent on one frame at a time.

Jobs run in the order they come. Those that may wait for each other are taken several at a time and reported together.
Every run of a model leaves the caches cold for all that follows; moving a frame costs about 0.45 ms where frame
follows frame and twice to three times as much between two runs of MobileNetV2. So it pays to move a few at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar

R = TypeVar("R")

_NAME: Final = "compute"


class _Job(NamedTuple):
    work: Callable[[], Any]
    result: asyncio.Future[Any]
    together: int


class ComputeThread:
    """`start` it on the event loop that its results are wanted on; `run`; `stop`."""

    def start(self) -> None:
        """Begin to take jobs."""
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name=_NAME, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Wait for the job under way, and give up those that wait."""
        self._stopping = True
        self._jobs.put(None)
        self._thread.join()

    def run(self, work: Callable[[], R], *, together: int = 1) -> asyncio.Future[R]:
        """Have the thread call `work`; the future is its result, or what it raised.

        Args:
            work: must not touch the event loop.
            together: with how many jobs that say the same, this one included, it may be reported.
        """
        job = _Job(work, self._loop.create_future(), together)
        self._jobs.put(job)
        return job.result

    def _work(self) -> None:
        ahead: _Job | None = None
        while not self._stopping:
            job = ahead or self._jobs.get()
            ahead = None
            if job is None:
                return
            done = [(job.result, *_outcome(job.work))]
            while len(done) < job.together and not self._stopping:
                try:
                    ahead = self._jobs.get_nowait()
                except Empty:
                    break
                if ahead is None or ahead.together < job.together:
                    break
                done.append((ahead.result, *_outcome(ahead.work)))
                ahead = None
            self._loop.call_soon_threadsafe(_tell, done)


def _outcome(work: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        return work(), None
    except Exception as error:
        # Raised again where the result is awaited.
        return None, error


def _tell(done: list[tuple[asyncio.Future[Any], Any, Exception | None]]) -> None:
    for future, result, error in done:
        if future.done():  # whoever asked was cancelled
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
