"""The plans as the worker sees them, over a broker that comes and goes."""

import asyncio
from typing import Any

import pytest

from broker.bus import Bus
from schemas.topics import PLAN_CURRENT
from services.worker import plan_book
from services.worker.plan_book import PlanBook


async def until(changed: asyncio.Event, condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await changed.wait()
            changed.clear()


async def test_plans_come_move_and_go(lab: Any) -> None:
    changed = asyncio.Event()
    plan = lab.plan("pi4[0:)")
    await lab.hub.next(plan)
    async with Bus(lab.url, name="pi4", root=lab.root) as bus:
        book = PlanBook(bus, changed)
        following = asyncio.create_task(book.follow())
        await until(changed, lambda: book.upcoming == {"cats": plan})
        await lab.hub.current(plan)
        await until(changed, lambda: (book.upcoming, book.current) == ({}, {"cats": plan}))
        await bus.publish_bytes("plan/cats/current", b"{}")
        await lab.hub.remove("cats")
        await until(changed, lambda: book.current == {})
        assert bus.rejected["malformed"] == 1
        following.cancel()
        await asyncio.wait([following])


async def test_a_plan_that_went_while_the_connection_was_down_is_forgotten_but_not_at_once(
    own_broker_lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_book, "RESYNC_AFTER_S", 0.3)
    changed = asyncio.Event()
    async with own_broker_lab() as (broker, lab), Bus(lab.url, name="pi4", root=lab.root) as bus:
        stays, goes = lab.plan("pi4[0:)"), lab.plan("pi4[0:)").model_copy(update={"deployment": "dogs"})
        await lab.hub.current(stays)
        await bus.publish(PLAN_CURRENT, goes, deployment="dogs", remember=False)
        book = PlanBook(bus, changed)
        following = asyncio.create_task(book.follow())
        await until(changed, lambda: set(book.current) == {"cats", "dogs"})
        # The restarted broker remembers nothing; the hub says again what it said, and nobody says `dogs`.
        broker.restart()
        await until(changed, lambda: set(book.current) == {"cats"})
        following.cancel()
        await asyncio.wait([following])


async def test_it_is_complete_when_it_holds_all_that_was_retained_and_at_once_when_nothing_was(
    lab: Any,
) -> None:
    async with Bus(lab.url, name="pi4", root=lab.root) as bus:
        empty = PlanBook(bus, asyncio.Event())
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(empty.follow())
            await asyncio.wait_for(empty.complete.wait(), 10)
            following.cancel()
        plans = {f"cats{n}": lab.plan("pi4[0:)").model_copy(update={"deployment": f"cats{n}"}) for n in range(30)}
        for name, plan in plans.items():
            await lab.hub.bus.publish(PLAN_CURRENT, plan, deployment=name)
        full = PlanBook(bus, asyncio.Event())
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(full.follow())
            await asyncio.wait_for(full.complete.wait(), 10)
            assert full.current == plans
            following.cancel()
