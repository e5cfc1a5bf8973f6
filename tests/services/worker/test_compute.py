"""One thread, jobs in order; what may be reported together is, and nothing else."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from services.worker.compute import ComputeThread


@pytest.fixture
async def thread() -> AsyncIterator[ComputeThread]:
    compute = ComputeThread()
    compute.start()
    yield compute
    compute.stop()


async def held_back(thread: ComputeThread) -> threading.Event:
    """Keep the thread busy until the event is set, so that what is asked meanwhile waits."""
    begun, go = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go.wait(10)

    thread.run(wait)
    await asyncio.to_thread(begun.wait, 10)
    return go


async def test_jobs_run_in_the_order_they_come_on_one_thread(thread: ComputeThread) -> None:
    seen: list[tuple[int, int]] = []
    await asyncio.gather(
        *[thread.run(lambda n=n: seen.append((n, threading.get_ident())), together=1 + n % 3) for n in range(50)]  # type: ignore[misc]
    )
    assert [number for number, _ in seen] == list(range(50))
    assert {ident for _, ident in seen} != {threading.get_ident()}
    assert len({ident for _, ident in seen}) == 1


async def test_what_a_job_raises_is_raised_where_it_is_awaited_and_the_next_runs(thread: ComputeThread) -> None:
    bad = thread.run(lambda: 1 // 0, together=2)
    good = thread.run(lambda: 7, together=2)
    with pytest.raises(ZeroDivisionError):
        await bad
    assert await good == 7


async def test_as_many_jobs_as_they_say_are_reported_together_and_no_more(thread: ComputeThread) -> None:
    free = await held_back(thread)
    begun, go = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        go.wait(10)

    quick = [thread.run(lambda: None, together=3) for _ in range(3)]
    late = thread.run(slow, together=3)
    free.set()
    await asyncio.to_thread(begun.wait, 10)
    await asyncio.wait_for(asyncio.gather(*quick), 10)
    assert not late.done()
    go.set()
    await late


async def test_a_job_that_must_not_wait_is_never_reported_late(thread: ComputeThread) -> None:
    begun, go = threading.Event(), threading.Event()
    free = await held_back(thread)
    urgent = thread.run(lambda: "done")

    def slow() -> None:
        begun.set()
        go.wait(10)

    slow_one = thread.run(slow)
    free.set()
    assert await asyncio.wait_for(urgent, 10) == "done"
    assert not slow_one.done()
    go.set()
    await slow_one


async def test_jobs_of_another_patience_are_not_mixed_in(thread: ComputeThread) -> None:
    free = await held_back(thread)
    begun, go = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        go.wait(10)

    patient = thread.run(lambda: "patient", together=3)
    thread.run(slow, together=1)
    free.set()
    assert await asyncio.wait_for(patient, 10) == "patient"
    go.set()


async def test_a_cancelled_job_takes_no_other_with_it(thread: ComputeThread) -> None:
    go = await held_back(thread)
    gone, stays = thread.run(lambda: 1, together=2), thread.run(lambda: 2, together=2)
    gone.cancel()
    go.set()
    assert await stays == 2


async def test_stopping_waits_for_the_job_under_way_and_gives_up_the_rest() -> None:
    compute = ComputeThread()
    compute.start()
    go = await held_back(compute)
    ran: list[int] = []
    left = compute.run(lambda: ran.append(1), together=3)
    compute._stopping = True
    go.set()
    await asyncio.to_thread(compute.stop)
    assert ran == []
    assert not left.done()
