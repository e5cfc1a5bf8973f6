"""A device that is not there: it says on the bus what a real one's monitor and worker would say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from schemas.device import DeviceInfo, DeviceStatus, LinkMeasure, Power, PowerModel, Profile, Telemetry
from schemas.model import ModelCard
from schemas.parts import stage_id
from schemas.plan import Plan
from schemas.stages import HeldStage, StagesHeld, StageState, StageTiming, Timing
from schemas.topics import (
    DEVICE_CLAIM,
    DEVICE_COMMAND,
    DEVICE_INFO,
    DEVICE_PROFILE,
    DEVICE_STAGES,
    DEVICE_STATUS,
    DEVICE_TELEMETRY,
    DEVICE_TIMING,
    MODEL_CARD,
    PLAN_CURRENT,
    PLAN_NEXT,
    Topic,
)

_WITHIN_S = 60.0


class FakeDevice:
    """A monitor and a worker in a few lines. Attributes may be changed while it is there."""

    def __init__(
        self,
        broker: EmbeddedBroker,
        root: str,
        name: str,
        *,
        block_ms: float = 1.0,
        memory_bytes: int = 1 << 30,
        deaf: bool = False,
    ) -> None:
        self.name = name
        self.deaf = deaf
        self.block_ms = block_ms
        self.memory_bytes = memory_bytes
        self.measures = True
        self.answers = True
        self.state: StageState = "ready"
        self.progress = 1.0
        self.error = ""
        self.boot = f"{name}-1"
        self.commands: list[str] = []
        self.probes = 0
        self.reports = 0
        self.cores = 1.0
        self.mbps = 100.0
        self.slower = 1.0
        """Stages take so many times what the plan predicts."""
        self.stuck_s = 0.0
        self.stage_bytes = 1000
        self.online = True
        self._plans: dict[tuple[str, str], Plan] = {}
        self._broker = broker
        self._root = root
        self._cards: dict[str, ModelCard] = {}
        self._open = contextlib.AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> FakeDevice:
        self.bus = await self._open.enter_async_context(Bus(self._broker.url, name=self.name, root=self._root))
        for topic in (PLAN_NEXT, PLAN_CURRENT):
            stream = await self._open.enter_async_context(self.bus.watch(topic))
            self._tasks.append(asyncio.create_task(self._react(topic, stream, self._planned)))
        if not self.deaf:
            await self.listen()
        claims = await self._open.enter_async_context(self.bus.subscribe(DEVICE_CLAIM, device=self.name))
        self._tasks.append(asyncio.create_task(self._answer(claims)))
        await self.bus.publish(
            DEVICE_STATUS, DeviceStatus(device=self.name, boot_id="m1", online=True), device=self.name
        )
        await self.bus.publish(DEVICE_INFO, self._info(), device=self.name)
        await self.bus.publish(DEVICE_TELEMETRY, self._telemetry(), device=self.name)
        await self.tell()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._open.aclose()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def listen(self) -> None:
        """Hear commands from now on."""
        stream = await self._open.enter_async_context(self.bus.watch(DEVICE_COMMAND, device=self.name))
        self._tasks.append(asyncio.create_task(self._react(DEVICE_COMMAND, stream, self._asked)))

    async def die(self) -> None:
        """What the broker says when a worker vanishes."""
        self.online = False
        self._plans.clear()
        await self.tell()

    async def live_again(self) -> None:
        self.boot = f"{self.boot}x"
        self.online = True
        await self.tell()

    async def hang(self) -> None:
        """The connection stays, and nobody is at home."""
        self.answers = False

    async def drop_stages(self) -> None:
        """It is there, and no longer holds what it was ready to serve."""
        self._plans.clear()
        await self.tell()

    async def report(self, *, frames: int = 0) -> None:
        """One second's telemetry and heartbeat, of a device where only its worker computes."""
        self.reports += 1
        await self.bus.publish(DEVICE_TELEMETRY, self._telemetry(), device=self.name)
        stages = tuple(
            StageTiming(
                deployment=plan.deployment, generation=plan.generation, stage=stage_id(number, index), frames=frames,
                wait_ms=0, compute_ms=predicted.compute_ms * self.slower, codec_ms=0, bytes_in=0, bytes_out=0,
            )
            for plan in self._plans.values()
            for number, route in enumerate(plan.routes)
            for index, (stage, predicted) in enumerate(zip(route.stages, route.stage_predictions, strict=True))
            if stage.device == self.name and frames
        )  # fmt: skip
        beat = Timing(
            device=self.name, boot_id=self.boot, period_s=1, queue_depth=0, stuck_s=self.stuck_s, stages=stages
        )  # fmt: skip
        await self.bus.publish(DEVICE_TIMING, beat, device=self.name)

    async def tell(self) -> None:
        held = StagesHeld(
            device=self.name, boot_id=self.boot, online=self.online, memory_budget_bytes=self.memory_bytes,
            stages=self._stages() if self.online else (), reason="" if self.online else "vanished",
        )  # fmt: skip
        await self.bus.publish(DEVICE_STAGES, held, device=self.name)

    def _stages(self) -> tuple[HeldStage, ...]:
        plans = {(plan.deployment, plan.generation): plan for plan in self._plans.values()}
        return tuple(
            HeldStage(
                deployment=plan.deployment, generation=plan.generation, stage=stage_id(number, index), model=plan.model,
                card_sha=plan.card_sha, first=stage.first, last=stage.last, state=self.state, progress=self.progress,
                memory_bytes=self.stage_bytes, error=self.error,
            )
            for plan in plans.values()
            for number, route in enumerate(plan.routes)
            for index, stage in enumerate(route.stages)
            if stage.device == self.name
        )  # fmt: skip

    async def _react(
        self, topic: Topic[Any], stream: AsyncIterator[Any], react: Callable[[Topic[Any], str, Any], Awaitable[None]]
    ) -> None:
        async for change in stream:
            await react(topic, change.parameters.get("deployment", ""), change.message)

    async def _planned(self, topic: Topic[Any], deployment: str, plan: Plan | None) -> None:
        if plan is None:
            # Like a real worker: what `next` named stays until a later plan supersedes it.
            if topic is PLAN_CURRENT:
                self._plans = {key: kept for key, kept in self._plans.items() if key[1] != deployment}
        else:
            self._plans[topic.template, deployment] = plan
            if topic is PLAN_CURRENT:
                self._plans.pop((PLAN_NEXT.template, deployment), None)
        if self.online and self.answers:
            await self.tell()

    async def _asked(self, _topic: Topic[Any], _name: str, command: Any) -> None:
        if command.kind == "probe":
            self.probes += 1
            return
        self.commands.append(command.model)
        if self.measures:
            await self.measure(command.model)

    async def measure(self, model: str, *, cores: float = 1.0, blocks: int | None = None) -> None:
        async with asyncio.timeout(_WITHIN_S), self.bus.subscribe(MODEL_CARD, model=model) as cards:
            card = (await anext(cards)).message
        profile = Profile(
            device=self.name, boot_id=self.boot, model=model, card_sha=card.sha256, backend="onnxruntime", threads=1,
            block_ms=(self.block_ms,) * (len(card.blocks) if blocks is None else blocks),
            frame_ms=0.2, frame_ms_per_mb=0.5, rounds=5, capacity_cores=cores,
        )  # fmt: skip
        await self.bus.publish(DEVICE_PROFILE, profile, device=self.name, model=model)

    async def _answer(self, claims: AsyncIterator[Any]) -> None:
        async for _ in claims:
            if self.answers:
                await self.tell()

    def _info(self) -> DeviceInfo:
        return DeviceInfo(
            device=self.name, boot_id="m1", hostname=self.name, machine="made up", architecture="none", cores=1,
            capacity_cores=1.0, memory_bytes=1 << 31,
            power=PowerModel(idle_w=1, busy_w=3, method="modelled", source="made up"),
        )  # fmt: skip

    def _telemetry(self) -> Telemetry:
        link = LinkMeasure(rtt_ms=1, up_mbps=self.mbps, down_mbps=self.mbps, probe_bytes=1 << 18, age_s=0)
        return Telemetry(
            device=self.name, boot_id="m1", sequence=1, unix_time=0, load=0, capacity_cores=self.cores,
            memory_free_bytes=1 << 30, memory_bytes=1 << 31, link=link,
            power=Power(watts=1, method="modelled", source="made up"),
        )  # fmt: skip
