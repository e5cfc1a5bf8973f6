"""The one thread that computes, for all stages of a worker, so that a small CPU quota is spent on one frame at a time.

Jobs run in the order they come. Those that may wait for each other are taken several at a time, step by step: all are
decoded, all run, all are encoded, all are reported. Every run of a model leaves the caches cold for what follows;
moving a frame costs about 0.45 ms where frame follows frame, and twice to three times as much between two runs of
MobileNetV2. So it pays to do a few at once.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator, Sequence
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

R = TypeVar("R")


class _Job(NamedTuple):
    steps: Generator[None, None, Any]
    result: asyncio.Future[Any]
    together: int


class ComputeThread:
    """`start` it on the event loop that its results are wanted on; `run`; `stop`."""

    def __init__(self) -> None:
        self._step_since_s = 0.0

    def start(self) -> None:
        """Begin to take jobs."""
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="compute", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Wait for the jobs under way, and give up those that wait."""
        self._stopping = True
        self._jobs.put(None)
        self._thread.join()

    @property
    def stuck_s(self) -> float:
        """How long it has been at its present step; 0 when it waits for work."""
        since_s = self._step_since_s
        return time.monotonic() - since_s if since_s else 0.0

    def run(self, steps: Generator[None, None, R], *, together: int = 1) -> asyncio.Future[R]:
        """Have the thread go through `steps`; the future is what they return, or what they raise.

        Args:
            steps: must not touch the event loop; between two steps others' same step may come.
            together: with how many jobs that say the same, this one included, it may be taken.
        """
        job = _Job(steps, self._loop.create_future(), together)
        self._jobs.put(job)
        return job.result

    def _work(self) -> None:
        ahead: _Job | None = None
        while not self._stopping:
            job = ahead or self._jobs.get()
            if job is None:
                return
            jobs, ahead = self._with_others(job)
            self._loop.call_soon_threadsafe(_tell, jobs, self._through(jobs))

    def _with_others(self, first: _Job) -> tuple[list[_Job], _Job | None]:
        """What is taken together with a job, of what waits; and the next job, where it had to be looked at."""
        jobs = [first]
        while len(jobs) < first.together:
            try:
                other = self._jobs.get_nowait()
            except Empty:
                break
            if other is None or other.together != first.together:
                return jobs, other
            jobs.append(other)
        return jobs, None

    def _through(self, jobs: Sequence[_Job]) -> list[tuple[Any, Exception | None]]:
        """Result or error of each job, all taken through their steps side by side."""
        outcomes: list[tuple[Any, Exception | None]] = [(None, None)] * len(jobs)
        going = list(range(len(jobs)))
        while going:
            for index in tuple(going):
                self._step_since_s = time.monotonic()
                try:
                    next(jobs[index].steps)
                except StopIteration as end:
                    outcomes[index] = (end.value, None)
                except Exception as error:
                    # Raised again where the result is awaited.
                    outcomes[index] = (None, error)
                else:
                    continue
                going.remove(index)
        self._step_since_s = 0.0
        return outcomes


def _tell(jobs: Sequence[_Job], outcomes: Sequence[tuple[Any, Exception | None]]) -> None:
    for job, (result, error) in zip(jobs, outcomes, strict=True):
        if job.result.done():  # whoever asked was cancelled
            continue
        if error is None:
            job.result.set_result(result)
        else:
            job.result.set_exception(error)
