"""A house that commands are typed in: a hub with a fake planner and a fake line on a thread of their own."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from broker.embedded import EmbeddedBroker
from schemas.deployment import Alternative, Decision, HubStatus
from schemas.device import DeviceInfo, DeviceStatus, LinkMeasure, Power, PowerModel, Profile, Telemetry
from schemas.model import ModelCard, Preprocess
from schemas.plan import Prediction
from schemas.stages import StagesHeld
from schemas.topics import (
    DEPLOYMENT,
    DEVICE_INFO,
    DEVICE_PROFILE,
    DEVICE_STAGES,
    DEVICE_STATUS,
    DEVICE_TELEMETRY,
    HUB_STATUS,
    MODEL_CARD,
    PLAN_DECISION,
)
from services.planner.hub_presence import heartbeat
from stageline.cli import app

runner = CliRunner()


class Background:
    """An event loop on a thread, for what must go on while a command runs its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


class House:
    """A hub in a thread: a fake line that answers, and a fake planner that serves `doubler` and refuses `giant`."""

    def __init__(self, url: str, root: str, line: Any, card: ModelCard) -> None:
        self.url = url
        self.root = root
        self.line = line
        self.card = card

    def args(self, *arguments: object) -> list[str]:
        return [*map(str, arguments), "--broker", self.url, "--root", self.root]

    def invoke(self, *arguments: object) -> Any:
        return runner.invoke(app, self.args(*arguments))

    def json(self, *arguments: object, code: int = 0) -> Any:
        result = self.invoke(*arguments, "--json", "-")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    async def furnish(self) -> None:
        """Cards, a planner, one device that computes and one that left."""
        bus = self.line.bus
        giant = self.card.model_copy(update={"name": "giant"})
        for card in (self.card, giant):
            await bus.publish(MODEL_CARD, card, model=card.name)
        await bus.publish(HUB_STATUS, HubStatus(online=True, boot_id="h1", version="0.1.0"))
        model = PowerModel(idle_w=2, busy_w=6, method="modelled", source="table")
        info = DeviceInfo(
            device="pi4", boot_id="m1", hostname="pi4", machine="Raspberry Pi 4", architecture="aarch64", cores=4,
            capacity_cores=4.0, memory_bytes=4 << 30, power=model,
        )  # fmt: skip
        telemetry = Telemetry(
            device="pi4", boot_id="m1", sequence=1, unix_time=time.time(), load=0.25, capacity_cores=4.0,
            memory_free_bytes=1 << 30, memory_bytes=4 << 30, temperature_c=51.0,
            power=Power(watts=3.0, method="modelled", source="table"),
            link=LinkMeasure(rtt_ms=2.0, up_mbps=90, down_mbps=95, probe_bytes=1000, age_s=1.0),
        )  # fmt: skip
        profile = Profile(
            device="pi4", boot_id="w1", model="doubler", card_sha=self.card.sha256, backend="onnxruntime", threads=1,
            block_ms=(5.0,), frame_ms=0.5, frame_ms_per_mb=1.0, rounds=9, capacity_cores=4.0,
        )  # fmt: skip
        worker = StagesHeld(
            device="pi4", boot_id="w1", online=True, memory_budget_bytes=1 << 30, max_packet_bytes=1 << 26
        )
        await bus.publish(DEVICE_STATUS, DeviceStatus(device="pi4", boot_id="m1", online=True), device="pi4")
        await bus.publish(DEVICE_INFO, info, device="pi4")
        await bus.publish(DEVICE_TELEMETRY, telemetry, device="pi4")
        await bus.publish(DEVICE_PROFILE, profile, device="pi4", model="doubler")
        await bus.publish(DEVICE_STAGES, worker, device="pi4")
        gone = StagesHeld(device="nano", boot_id="w2", online=False, reason="connection lost")
        await bus.publish(DEVICE_STAGES, gone, device="nano")

    async def plan(self) -> None:
        """A planner's answers to what `deploy` and `undeploy` ask."""
        bus = self.line.bus
        async with bus.watch(DEPLOYMENT) as wishes:
            self.planning.set()
            async for change in wishes:
                name, wish = change.parameters["deployment"], change.message
                if wish is None:
                    decision = Decision(deployment=name, generation=1, requested=0.0, state="removed")
                elif wish.model == "giant":
                    decision = Decision(
                        deployment=name, generation=0, requested=wish.requested, state="failed",
                        error="pi4 lacks 400 MB of memory",
                    )  # fmt: skip
                elif "pi4" in wish.exclude:
                    decision = Decision(
                        deployment=name, generation=0, requested=wish.requested, state="failed", error="no device left"
                    )
                else:
                    await self.line.serve("pi4", card=self.card, deployment=name)
                    predicted = Prediction(latency_ms=10, throughput_rps=100, energy_j=0.1)
                    chosen = Alternative(
                        label="chosen", plan="r0: pi4[0:1)", feasible=True, predicted=predicted, reason="one device"
                    )
                    decision = Decision(
                        deployment=name, generation=1, requested=wish.requested, state="serving", plan="r0: pi4[0:1)",
                        predicted=predicted, explanation="Not split: the model is one block.", decided_by="compute",
                        alternatives=(chosen,),
                    )  # fmt: skip
                await bus.publish(PLAN_DECISION, decision, deployment=name)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        self.planning = asyncio.Event()
        await self.furnish()
        tasks = asyncio.create_task(self.plan()), asyncio.create_task(heartbeat(self.line.bus, "h1"))
        self.planner = tasks
        await self.planning.wait()
        yield
        await self.freeze()

    async def decided(self, deployment: str, state: str) -> None:
        """Until the planner says so."""
        async with asyncio.timeout(10), self.line.bus.subscribe(PLAN_DECISION, deployment=deployment) as decisions:
            async for delivery in decisions:
                if delivery.message.state == state:
                    return

    async def freeze(self) -> None:
        """The planner does nothing any more, and its connection stands."""
        for task in self.planner:
            task.cancel()
        await asyncio.gather(*self.planner, return_exceptions=True)


@pytest.fixture
def background() -> Iterator[Background]:
    one = Background()
    yield one
    one.close()


@pytest.fixture
def house(
    background: Background, broker: EmbeddedBroker, root: str, running_line: Callable[..., Any], make_card: Any
) -> Iterator[House]:
    card = make_card(shape=(1, 8, 8, 3), dtype="uint8", preprocess=Preprocess(resize=8, crop=8))
    stack = AsyncExitStack()

    async def start() -> House:
        line = await stack.enter_async_context(running_line(broker, root, deployment="pictures"))
        made = House(broker.url, root, line, card)
        await stack.enter_async_context(made.open())
        return made

    made = background.run(start())
    yield made
    background.run(stack.aclose())


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    Image.new("RGB", (20, 12), (250, 10, 10)).save(path)
    return path


@pytest.fixture
def served(house: House) -> House:
    assert house.invoke("deploy", "doubler", "--name", "pictures").exit_code == 0
    return house
