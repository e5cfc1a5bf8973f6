"""Signs of life: only while everything gets on, asking for time until ready, and silent about the rest when leaving."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.supervision import ExecutorPulse, supervised
from services.worker.compute import ComputeThread


async def test_it_asks_for_time_until_it_is_ready_and_gives_signs_of_life_throughout(systemd):
    status = "fetching"
    async with supervised(lambda _: True, lambda: status) as ready:
        first = await systemd.says("WATCHDOG")
        assert first == {"WATCHDOG": "1", "STATUS": "fetching", "EXTEND_TIMEOUT_USEC": "300000"}
        status = "serving cats"
        ready()
        assert await systemd.says("READY") == {"READY": "1", "STATUS": "serving cats"}
        systemd.forget()
        assert await systemd.says("WATCHDOG") == {"WATCHDOG": "1", "STATUS": "serving cats"}


async def test_ready_is_said_again_until_it_has_been_heard(systemd, monkeypatch):
    async with supervised(lambda _: True, lambda: "") as ready:
        monkeypatch.setenv("NOTIFY_SOCKET", "@stageline-nobody-is-here")
        ready()
        monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
        await systemd.says("READY")
        systemd.forget()
        await systemd.says("WATCHDOG")
        await systemd.says("WATCHDOG")
        assert not systemd.said("READY")


async def test_without_a_supervisor_nothing_runs_and_ready_may_be_said(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    before = len(asyncio.all_tasks())
    async with supervised(lambda _: True, lambda: "") as ready:
        ready()
        assert len(asyncio.all_tasks()) == before


async def test_a_status_is_told_where_no_sign_of_life_is_wanted(systemd, monkeypatch):
    monkeypatch.delenv("WATCHDOG_USEC")
    async with supervised(lambda _: True, lambda: "at rest"):
        assert "WATCHDOG" not in await systemd.says("STATUS", "at rest")


async def test_a_compute_thread_that_is_stuck_stops_the_signs_of_life_until_it_moves_again(systemd):
    compute, entered, go = ComputeThread(), threading.Event(), threading.Event()
    compute.start()

    def stuck():
        entered.set()
        go.wait(30)
        return "done"
        yield

    async with supervised(lambda within_s: compute.stuck_s <= within_s, lambda: f"{compute.stuck_s:.1f}") as ready:
        ready()
        result = compute.run(stuck())
        await asyncio.to_thread(entered.wait)
        await systemd.until(lambda message: float(message["STATUS"]) > 0.2)
        systemd.heard.clear()
        await systemd.until(lambda message: float(message["STATUS"]) > 0.6)
        assert not systemd.said("WATCHDOG")
        go.set()
        assert await result == "done"
        await systemd.says("WATCHDOG")
    compute.stop()


async def test_an_executor_whose_threads_are_all_taken_has_no_pulse(systemd):
    loop, go = asyncio.get_running_loop(), threading.Event()
    loop.set_default_executor(ThreadPoolExecutor(1))
    pulse = ExecutorPulse()
    assert pulse(1.0)
    taken = loop.run_in_executor(None, go.wait, 30)
    assert pulse._beat is not None
    await pulse._beat
    assert pulse(1.0)
    assert not pulse(1.0)
    go.set()
    await taken
    await pulse._beat
    assert pulse(1.0)


async def test_a_service_that_leaves_gives_signs_of_life_and_asks_for_no_more_time(systemd):
    inside, leave = asyncio.Event(), asyncio.Event()

    async def service():
        async with supervised(lambda _: True, lambda: "still here"):
            inside.set()
            try:
                await asyncio.Event().wait()
            finally:
                await leave.wait()

    task = asyncio.create_task(service())
    await inside.wait()
    task.cancel()
    await asyncio.sleep(0)
    systemd.forget()
    assert await systemd.says("WATCHDOG") == {"WATCHDOG": "1"}
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_status_that_fails_ends_the_service(systemd):
    def status():
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup):
        async with supervised(lambda _: True, status):
            await asyncio.Event().wait()
