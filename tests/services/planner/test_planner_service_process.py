"""The planner as a process: killed without warning, started again, told to stop."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from child_processes import running

from schemas.topics import HUB_STATUS, PLAN_CURRENT

if TYPE_CHECKING:
    from tests.services.planner.house import House


def planner_process(house: House) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    place = ("--broker", house.broker.url, "--root", house.root, "--library", house.library.root)
    return running("services.planner.main", *place)


async def test_a_killed_planner_is_missed_and_its_successor_goes_on_counting(house: House) -> None:
    await house.watch(HUB_STATUS)
    house.import_model()
    fast, _ = await house.device("fast"), await house.device("slow", block_ms=5.0)
    async with planner_process(house) as process:
        await house.want()
        before = await house.serving()
        process.kill()
        await house.until(HUB_STATUS, "", lambda hub: not hub.online)
    assert house.now[PLAN_CURRENT.template, "cats"] == before
    async with planner_process(house) as process:
        await house.until(HUB_STATUS, "", lambda hub: hub.online)
        await fast.die()
        assert (await house.serving(generation=2)).devices == ("slow",)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0
        await house.until(HUB_STATUS, "", lambda hub: not hub.online)


async def test_a_planner_without_a_broker_says_so_in_one_line(house: House) -> None:
    flags = ("--broker", "mqtt://127.0.0.1:1", "--connect-timeout-s", 0.2)
    async with running("services.planner.main", *flags) as process:
        _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert b"no broker at" in errors
    assert b"Traceback" not in errors
