"""One thread, jobs in order; what may be taken together is, step by step, and nothing else; shares by weight."""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator
from types import SimpleNamespace
from typing import Any

import pytest

from services.worker.compute import ComputeThread, JobQuitError


@pytest.fixture
async def thread() -> AsyncIterator[ComputeThread]:
    compute = ComputeThread()
    compute.start()
    yield compute
    compute.stop()


def job(*parts: Callable[[], Any]) -> Generator[None, None, Any]:
    """Each part in a step of its own; the last one's value is the result."""
    result = None
    for number, part in enumerate(parts, 1):
        result = part()
        if number < len(parts):
            yield
    return result


class Gate:
    """Keeps the thread busy until it is opened, so that what is asked meanwhile waits."""

    def __init__(self) -> None:
        self._reached, self._go = threading.Event(), threading.Event()

    def wait(self) -> None:
        self._reached.set()
        self._go.wait(10)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, 10)

    def open(self) -> None:
        self._go.set()


async def busy(thread: ComputeThread) -> Gate:
    gate = Gate()
    thread.run(job(gate.wait))
    await gate.reached()
    return gate


async def test_jobs_run_in_the_order_they_come_on_one_thread_that_is_not_the_loops(thread: ComputeThread) -> None:
    seen: list[tuple[int, int]] = []

    def note(number: int) -> None:
        seen.append((number, threading.get_ident()))

    await asyncio.gather(*[thread.run(job(lambda n=n: note(n)), together=1 + n % 3) for n in range(50)])  # type: ignore[misc]
    assert [number for number, _ in seen] == list(range(50))
    (ident,) = {ident for _, ident in seen}
    assert ident != threading.get_ident()


async def test_jobs_that_are_taken_together_go_step_by_step(thread: ComputeThread) -> None:
    gate = await busy(thread)
    seen: list[str] = []
    steps = [[lambda part=part, n=n: seen.append(f"{part}{n}") for part in "abc"] for n in range(4)]  # type: ignore[misc]
    results = [thread.run(job(*parts), together=3) for parts in steps]
    gate.open()
    await asyncio.gather(*results)
    assert seen == ["a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2", "a3", "b3", "c3"]


@pytest.mark.parametrize("together", [1, 3])
async def test_what_a_job_raises_is_raised_where_it_is_awaited_and_the_others_go_on(
    thread: ComputeThread, together: int
) -> None:
    gate = await busy(thread)
    good, bad, late = (
        thread.run(job(lambda: 1, lambda: 2, lambda: 3), together=together),
        thread.run(job(lambda: 1, lambda: 1 // 0, lambda: 3), together=together),
        thread.run(job(lambda: 7), together=together),
    )
    gate.open()
    assert await good == 3
    with pytest.raises(ZeroDivisionError):
        await bad
    assert await late == 7


async def test_as_many_jobs_as_they_say_are_taken_together_and_no_more(thread: ComputeThread) -> None:
    gate, slow = await busy(thread), Gate()
    quick = [thread.run(job(lambda: None), together=3) for _ in range(3)]
    late = thread.run(job(slow.wait), together=3)
    gate.open()
    await slow.reached()
    await asyncio.wait_for(asyncio.gather(*quick), 10)
    assert not late.done()
    slow.open()
    await late


@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, 3), (3, 1), (3, 2)])
async def test_a_job_waits_for_no_other_that_does_not_say_the_same(
    thread: ComputeThread, first: int, second: int
) -> None:
    gate, slow = await busy(thread), Gate()
    quick = thread.run(job(lambda: "done"), together=first)
    late = thread.run(job(slow.wait), together=second)
    gate.open()
    assert await asyncio.wait_for(quick, 10) == "done"
    assert not late.done()
    slow.open()
    await late


async def test_a_cancelled_job_takes_no_other_with_it(thread: ComputeThread) -> None:
    gate = await busy(thread)
    gone, stays = thread.run(job(lambda: 1), together=2), thread.run(job(lambda: 2), together=2)
    gone.cancel()
    gate.open()
    assert await stays == 2


async def test_stopping_waits_for_the_job_under_way_and_gives_up_the_rest() -> None:
    compute = ComputeThread()
    compute.start()
    gate = await busy(compute)
    ran: list[int] = []
    left = compute.run(job(lambda: ran.append(1)), together=3)
    compute._stopping = True
    gate.open()
    await asyncio.to_thread(compute.stop)
    assert ran == []
    assert not left.done()


async def test_a_job_that_is_cancelled_while_it_waits_never_begins(thread: ComputeThread) -> None:
    gate = await busy(thread)
    ran: list[int] = []
    gone = thread.run(job(lambda: ran.append(1)), together=2)
    stays = thread.run(job(lambda: ran.append(2)), together=2)
    gone.cancel()
    gate.open()
    await stays
    assert ran == [2]


async def test_owners_share_the_time_by_weight_and_each_keeps_its_order(
    thread: ComputeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=1.0)
    monkeypatch.setattr("services.worker.compute.time", SimpleNamespace(monotonic=lambda: clock.now))
    gate = await busy(thread)
    ran: list[tuple[str, int]] = []

    def work(owner: str, number: int, seconds: float) -> None:
        ran.append((owner, number))
        clock.now += seconds

    results = [
        thread.run(job(lambda n=n: work("cats", n, 0.01)), owner="cats", weight=3.0)  # type: ignore[misc]
        for n in range(300)
    ]
    results += [
        thread.run(job(lambda n=n: work("dogs", n, 0.05)), owner="dogs", weight=1.0)  # type: ignore[misc]
        for n in range(20)
    ]
    gate.open()
    await asyncio.gather(*results)
    first = Counter(owner for owner, _ in ran[:160])
    # Of each 0.2 s, 0.15 s are the cats' and 0.05 s the dogs': fifteen turns for one.
    assert (first["cats"], first["dogs"]) == (150, 10)
    for owner in ("cats", "dogs"):
        mine = [number for name, number in ran if name == owner]
        assert mine == sorted(mine)


async def test_only_jobs_of_one_owner_are_taken_together(thread: ComputeThread) -> None:
    gate = await busy(thread)
    seen: list[str] = []

    def part(name: str) -> Callable[[], None]:
        return lambda: seen.append(name)

    results = [
        thread.run(job(part(f"{owner}{n}a"), part(f"{owner}{n}b")), owner=owner, together=2)
        for n in range(2)
        for owner in ("cats", "dogs")
    ]
    gate.open()
    await asyncio.gather(*results)
    assert seen == ["cats0a", "cats1a", "cats0b", "cats1b", "dogs0a", "dogs1a", "dogs0b", "dogs1b"]


class QuitEverythingError(BaseException):
    """Raised by what believes that it owns the process."""


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), QuitEverythingError()]
)
async def test_what_is_meant_for_the_interpreter_fails_its_job_and_neither_thread_nor_loop(
    thread: ComputeThread, error: BaseException
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(JobQuitError, match=type(error).__name__):
        await thread.run(job(fail))
    assert await thread.run(job(lambda: 7)) == 7


async def test_it_tells_how_long_it_has_been_at_one_step_and_nothing_while_it_waits(
    thread: ComputeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("services.worker.compute.time", SimpleNamespace(monotonic=lambda: clock.now))
    assert thread.stuck_s == 0
    first, second = Gate(), Gate()
    result = thread.run(job(first.wait, second.wait))
    await first.reached()
    clock.now += 5.0
    assert thread.stuck_s == 5.0
    first.open()
    await second.reached()
    assert thread.stuck_s == 0.0
    clock.now += 2.0
    assert thread.stuck_s == 2.0
    second.open()
    await result
    assert thread.stuck_s == 0


async def test_stopping_leaves_a_step_that_does_not_end_behind_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    compute = ComputeThread()
    compute.start()
    gate = await busy(compute)
    with caplog.at_level(logging.WARNING):
        await asyncio.to_thread(compute.stop, 0.01)
    assert "leaving without it" in caplog.text
    gate.open()
    await asyncio.to_thread(compute._thread.join)
