"""What a worker takes for the planner, in a few lines: cards, plans, blobs, and an eye on what workers hold."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from broker.bus import Bus
from models.library import Library
from schemas.model import BlobChunk, ModelCard
from schemas.plan import Plan
from schemas.stages import HeldStage, StagesHeld
from schemas.topics import BLOB_CHUNK, BLOB_REQUEST, DEVICE_STAGES, MODEL_CARD, PLAN_CURRENT, PLAN_NEXT

TIMEOUT_S = 60.0
"""For one word of a worker's, which may have to start first; each that is waited for has as long."""


class Hub:
    """Acts as the planner: publishes cards and plans, serves blobs, watches what workers hold."""

    def __init__(self, bus: Bus, library: Library) -> None:
        self.bus = bus
        self.library = library
        self.requested: Counter[str] = Counter()
        self.ranges: list[tuple[str, int]] = []
        """Blob and offset of every request."""
        self.corrupt: Counter[str] = Counter()
        """Blobs to be sent with a wrong first byte, and how often."""
        self.deaf: set[str] = set()
        """Blobs whose requests are not answered."""
        self._hold_after: dict[str, int] = {}
        self.refuse: dict[str, str] = {}
        """Blobs that cannot be had, and why."""
        self.serving = asyncio.Event()
        self.serving.set()
        self.states: dict[str, StagesHeld] = {}
        self.history: list[StagesHeld] = []
        self._news = asyncio.Condition()

    async def card(self, card: ModelCard) -> None:
        await self.bus.publish(MODEL_CARD, card, model=card.name)

    async def next(self, plan: Plan) -> None:
        await self.bus.publish(PLAN_NEXT, plan, deployment=plan.deployment)

    async def current(self, plan: Plan) -> None:
        await self.bus.publish(PLAN_CURRENT, plan, deployment=plan.deployment)
        await self.bus.clear(PLAN_NEXT, deployment=plan.deployment)

    async def remove(self, deployment: str) -> None:
        await self.bus.clear(PLAN_NEXT, deployment=deployment)
        await self.bus.clear(PLAN_CURRENT, deployment=deployment)

    async def roll_out(self, plan: Plan) -> None:
        """Next, ready, current."""
        await self.next(plan)
        await asyncio.gather(*(self.ready(device, plan) for device in plan.devices))
        await self.current(plan)

    async def ready(self, device: str, plan: Plan) -> HeldStage:
        return await self.stage(device, plan, "ready")

    async def stage(self, device: str, plan: Plan, state: str) -> HeldStage:
        """The device's first stage of the plan, once it is in that state."""

        def found(held: StagesHeld) -> HeldStage | None:
            mine = [s for s in held.stages if (s.deployment, s.generation) == (plan.deployment, plan.generation)]
            if state != "failed":
                assert all(s.state != "failed" for s in mine), mine
            return mine[0] if mine and all(s.state == state for s in mine) else None

        held = await self.held(device, lambda held: found(held) is not None)
        stage = found(held)
        assert stage is not None
        return stage

    async def held(self, device: str, wanted: Callable[[StagesHeld], bool]) -> StagesHeld:
        async with asyncio.timeout(TIMEOUT_S), self._news:
            await self._news.wait_for(lambda: device in self.states and wanted(self.states[device]))
        return self.states[device]

    async def asked(self, sha: str, times: int = 1) -> None:
        """Until a worker has asked for that blob so often."""
        async with asyncio.timeout(TIMEOUT_S), self._news:
            await self._news.wait_for(lambda: self.requested[sha] >= times)

    def hold_after(self, sha: str, requests: int) -> None:
        """Answer that many requests for that blob, and then nothing until `serving` is set."""
        self._hold_after[sha] = requests

    async def watch(self) -> None:
        async with self.bus.subscribe(DEVICE_STAGES) as deliveries:
            async for delivery in deliveries:
                async with self._news:
                    self.states[delivery.parameters["device"]] = delivery.message
                    self.history.append(delivery.message)
                    self._news.notify_all()

    async def serve_blobs(self) -> None:
        async with self.bus.bulk() as bulk, bulk.subscribe(BLOB_REQUEST) as requests:
            async for delivery in requests:
                sha, ask = delivery.parameters["sha"], delivery.message
                async with self._news:
                    self.requested[sha] += 1
                    self.ranges.append((sha, ask.offset))
                    self._news.notify_all()
                if self.requested[sha] > self._hold_after.get(sha, sys.maxsize):
                    del self._hold_after[sha]
                    self.serving.clear()
                await self.serving.wait()
                data = bytearray(self.library.blobs.read(sha))
                total = len(data)
                if sha in self.deaf:
                    continue
                if ask.offset == 0 and self.corrupt[sha] > 0:
                    self.corrupt[sha] -= 1
                    data[0] ^= 0xFF
                chunk = BlobChunk(
                    offset=ask.offset,
                    total=total,
                    data=bytes(data[ask.offset : ask.offset + ask.length]),
                    error=self.refuse.get(sha, ""),
                )
                where = {"model": delivery.parameters["model"], "sha": sha, "receiver": ask.receiver}
                await bulk.publish(BLOB_CHUNK, chunk, **where)


@asynccontextmanager
async def a_hub(url: str, root: str, library: Library) -> AsyncIterator[Hub]:
    async with Bus(url, name="hub", root=root) as bus, AsyncExitStack() as stack:
        hub = Hub(bus, library)
        for loop in (hub.watch(), hub.serve_blobs()):
            task = asyncio.create_task(loop)
            stack.push_async_callback(asyncio.wait, [task])
            stack.callback(task.cancel)
        yield hub
