"""The one thread that computes, for all stages of a worker, so that a small CPU quota is spent on one frame at a time.

Deployments share its time by weight (`services.worker.fair_queue`); jobs of one deployment run in the order they come.
Those that may wait for each other are taken several at a time, step by step: all are decoded, all run, all are encoded,
all are reported. Every run of a model leaves the caches cold for what follows; moving a frame costs about 0.45 ms
where frame follows frame, and twice to three times as much between two runs of MobileNetV2. So it pays to do a few at
once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar

from services.worker.fair_queue import FairQueue

logger = logging.getLogger(__name__)

R = TypeVar("R")

_LEAVE_WITHIN_S: Final = 1.0
"""For the step under way when the worker stops; nothing can interrupt one."""


class JobQuitError(Exception):
    """A job raised what is meant for the interpreter (`SystemExit` and its like): it failed, and the thread goes on."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"it tried to end the thread it ran in ({type(error).__name__})")


class _Job(NamedTuple):
    steps: Generator[None, None, Any]
    result: asyncio.Future[Any]
    owner: str
    weight: float
    together: int


class ComputeThread:
    """`start` it on the event loop that its results are wanted on; `run`; `stop`."""

    def __init__(self) -> None:
        self._step_since_s = 0.0

    def start(self) -> None:
        """Begin to take jobs."""
        self._loop = asyncio.get_running_loop()
        self._given: SimpleQueue[_Job | None] = SimpleQueue()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="compute", daemon=True)
        self._thread.start()

    def stop(self, within_s: float = _LEAVE_WITHIN_S) -> None:
        """Wait for the jobs under way, and give up those that wait. A step that does not end is left to the process."""
        self._stopping = True
        self._given.put(None)
        self._thread.join(within_s)
        if self._thread.is_alive():
            logger.warning("the compute thread has been at one step for %.0f s; leaving without it", self.stuck_s)

    @property
    def stuck_s(self) -> float:
        """How long it has been at its present step; 0 when it waits for work."""
        since_s = self._step_since_s
        return time.monotonic() - since_s if since_s else 0.0

    def run(
        self, steps: Generator[None, None, R], *, owner: str = "", weight: float = 1.0, together: int = 1
    ) -> asyncio.Future[R]:
        """Have the thread go through `steps`; the future is what they return, or what they raise.

        A job that is cancelled before its turn never begins.

        Args:
            steps: must not touch the event loop; between two steps others' same step may come.
            owner: whose share of the time it takes.
            weight: that share, relative to other owners'.
            together: with how many of its owner's jobs that say the same, this one included, it may be taken.
        """
        job = _Job(steps, self._loop.create_future(), owner, weight, together)
        self._given.put(job)
        return job.result

    def _work(self) -> None:
        waiting: FairQueue[_Job] = FairQueue()
        while True:
            self._take_in(waiting)
            if self._stopping:
                return
            jobs = _together(waiting.turn())
            started_s = time.monotonic()
            outcomes = self._through(jobs)
            waiting.charge(time.monotonic() - started_s)
            if self._loop.is_closed():
                return  # we were left behind
            self._loop.call_soon_threadsafe(_tell, jobs, outcomes)

    def _take_in(self, waiting: FairQueue[_Job]) -> None:
        """Line up all that has been given; waits for something to do when there is nothing."""
        idle = not waiting and self._given.empty()
        if idle:
            waiting.rest()
        while idle or not self._given.empty():
            idle = False
            job = self._given.get()
            if job is not None:
                waiting.put(job.owner, job.weight, job)

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
                except BaseException as error:
                    # On the event loop this would end the worker, and here the thread.
                    outcomes[index] = (None, _quit(error))
                else:
                    continue
                going.remove(index)
        self._step_since_s = 0.0
        return outcomes


def _together(line: deque[_Job]) -> list[_Job]:
    """Taken from the front of a line: what may go together, without those that nobody wants any more."""
    jobs: list[_Job] = []
    while line and (not jobs or len(jobs) < jobs[0].together == line[0].together):
        job = line.popleft()
        if not job.result.cancelled():
            jobs.append(job)
    return jobs


def _quit(error: BaseException) -> JobQuitError:
    quit_ = JobQuitError(error)
    quit_.__cause__ = error
    return quit_


def _tell(jobs: Sequence[_Job], outcomes: Sequence[tuple[Any, Exception | None]]) -> None:
    for job, (result, error) in zip(jobs, outcomes, strict=True):
        if job.result.done():  # whoever asked was cancelled
            continue
        if error is None:
            job.result.set_result(result)
        else:
            job.result.set_exception(error)
