"""Real processes: a device's work is moved away by command while requests are under way, and a device is forgotten."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from end_to_end.small_line import TIMEOUT_S, everybody, replicas, served, some_input
from typer.testing import CliRunner

from broker.bus import Bus
from schemas.model import ModelCard
from schemas.topics import DEPLOYMENT, DEVICE_DUTY, DEVICE_STAGES, PLAN_CURRENT, PLAN_DECISION
from services.planner.fleet import read_fleet
from stageline.cli import app
from stageline.client import Client
from stageline.emulation.house import House

runner = CliRunner()


async def command(running: House, *arguments: str, code: int = 0) -> Any:
    result = await asyncio.to_thread(runner.invoke, app, [*arguments, "--broker", running.broker.url, "--json", "-"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@asynccontextmanager
async def requests_all_the_time(running: House) -> AsyncIterator[Client]:
    """Requests one after the other while inside; every one of them is answered."""
    async with Client(running.broker.url, deployment="line", deadline_s=TIMEOUT_S) as client:
        await client.ready()

        async def ask() -> None:
            while True:
                await client.submit(some_input(1))

        asking = [asyncio.create_task(ask()) for _ in range(3)]
        try:
            yield client
        finally:
            assert not any(task.done() for task in asking), asking
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)


async def test_a_drained_device_gets_free_while_all_is_answered_and_serves_again_when_taken_back(
    running: House, bus: Bus, card: ModelCard
) -> None:
    await replicas(bus, card)
    assert "cat" in (await served(bus)).devices
    async with requests_all_the_time(running):
        outcome = await command(running, "drain", "cat", "--reason", "new fan")
        assert outcome == {"device": "cat", "drained": True, "deployments": [], "stages": [], "refused": {}}
        assert "cat" not in (await served(bus)).devices
        assert (await read_fleet(bus)).devices["cat"].worker.stages == ()  # type: ignore[union-attr]
    await command(running, "drain", "cat", "--undo")
    assert await bus.snapshot(DEVICE_DUTY) == []
    await replicas(bus, card)
    assert "cat" in (await served(bus)).devices


async def test_a_device_that_alone_can_serve_goes_on_serving_and_is_said_to_be_needed(
    running: House, bus: Bus, card: ModelCard
) -> None:
    await replicas(bus, card)
    await command(running, "exclude", "line", "bee", "cat")
    try:
        async with requests_all_the_time(running) as client:
            outcome = await command(running, "drain", "ant", "--timeout", "30", code=1)
            assert outcome["drained"] is False
            assert outcome["deployments"] == ["line"]
            assert "ant" in outcome["refused"]["line"]
            assert (await client.submit(some_input(2))).receipt.stages[0].device == "ant"
            again = await command(running, "drain", "ant", "--timeout", "30", code=1)
            assert again["refused"] == outcome["refused"]
            async with bus.subscribe(PLAN_CURRENT, deployment="line") as plans:
                # As soon as another may take over, the device is let go.
                await command(running, "exclude", "line", "bee", "cat", "--undo")
                async with asyncio.timeout(TIMEOUT_S):
                    async for delivery in plans:
                        if "ant" not in delivery.message.devices:
                            break
        assert (await command(running, "drain", "ant"))["drained"] is True
    finally:
        await command(running, "drain", "ant", "--undo")


async def test_a_change_that_is_refused_leaves_the_plan_that_serves_and_what_was_asked_for(
    running: House, bus: Bus, card: ModelCard
) -> None:
    await replicas(bus, card)
    before, [wish] = await served(bus), await bus.snapshot(DEPLOYMENT, deployment="line")
    async with requests_all_the_time(running):
        outcome = await command(running, "exclude", "line", "ant", "bee", "cat", code=1)
        assert (outcome["taken_back"], outcome["serving_generation"]) == (True, before.generation)
        async with asyncio.timeout(TIMEOUT_S), bus.subscribe(PLAN_DECISION, deployment="line") as decisions:
            async for decision in decisions:
                if decision.message.state == "serving":
                    break
        assert await served(bus) == before
        [kept] = await bus.snapshot(DEPLOYMENT, deployment="line")
        assert kept.message == wish.message
        await command(running, "pin", "line", "ant=0:99", code=2)
        assert (await command(running, "exclude", "line", "cat"))["changed"] is True
        assert "cat" not in (await served(bus)).devices


async def test_a_device_that_is_gone_is_forgotten_and_one_that_comes_back_is_known_again(
    running: House, bus: Bus, card: ModelCard
) -> None:
    await replicas(bus, card)
    gone = running.device("bee")
    await asyncio.to_thread(gone.stop_services)
    try:
        async with asyncio.timeout(TIMEOUT_S), bus.subscribe(DEVICE_STAGES, device="bee") as reports:
            async for report in reports:
                if not report.message.online:
                    break
        outcome = await command(running, "forget", "bee")
        assert {f"device/bee/{what}" for what in ("info", "stages", "status", "telemetry")} <= set(outcome["cleared"])
        assert "bee" not in (await read_fleet(bus)).devices
    finally:
        gone.start()
    await everybody(running, bus)
    await replicas(bus, card)
    assert "bee" in (await served(bus)).devices
