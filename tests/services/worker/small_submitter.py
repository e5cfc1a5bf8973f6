"""Whoever asks a worker, in a few lines: frames out, answers in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from broker.bus import Bus
from schemas.codec import Array
from schemas.frame import Frame, encode_frame
from schemas.frame_header import FrameHeader
from schemas.plan import Plan
from schemas.topics import ANSWER, STAGE

TIMEOUT_S = 60.0
"""For one answer."""


class Submitter:
    """Sends frames to first stages and collects what comes back, by request."""

    def __init__(self, bus: Bus, name: str) -> None:
        self.bus = bus
        self.name = name
        self.answers: dict[str, list[Frame]] = {}
        self._news = asyncio.Condition()
        self._sent = 0

    def header(self, plan: Plan, **changes: object) -> FrameHeader:
        self._sent += 1
        header = FrameHeader(
            kind="work",
            request=f"req-{self._sent}",
            submitter=self.name,
            deployment=plan.deployment,
            generation=plan.generation,
            budget_ms=TIMEOUT_S * 1000,
        )
        return header.model_copy(update=changes)

    async def send(self, plan: Plan, payload: bytes, *, request: str = "?", expiry_s: int = int(TIMEOUT_S)) -> bool:
        """Send bytes to the plan's first stage, whatever they are."""
        return await self.bus.send_frame(
            STAGE,
            payload,
            expiry_s=expiry_s,
            correlation=request,
            deployment=plan.deployment,
            generation=plan.generation,
            device=plan.routes[0].stages[0].device,
            stage="r0s0",
        )

    async def ask(self, plan: Plan, x: Array, *, name: str = "x", **changes: object) -> Frame:
        """One request, through to its answer or error."""
        header = self.header(plan, **changes)
        assert await self.send(plan, encode_frame(header, {name: x}), request=header.request)
        return await self.answer(header.request)

    async def ask_again_until_answered(self, plan: Plan, x: Array, *, name: str = "x") -> Frame:
        """As submitters do after an outage: everybody's connections come back one by one, answers' own among them."""
        header = self.header(plan)
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                if await self.send(plan, encode_frame(header, {name: x}), request=header.request):
                    with contextlib.suppress(TimeoutError):
                        return await asyncio.wait_for(self.answer(header.request), 1.0)
                await asyncio.sleep(0.02)

    async def answer(self, request: str) -> Frame:
        async with asyncio.timeout(TIMEOUT_S), self._news:
            await self._news.wait_for(lambda: request in self.answers)
        return self.answers[request][0]

    async def listen(self, subscribed: asyncio.Event) -> None:
        async with self.bus.frames(ANSWER, submitter=self.name) as deliveries:
            subscribed.set()
            async for delivery in deliveries:
                async with self._news:
                    self.answers.setdefault(delivery.frame.header.request, []).append(delivery.frame)
                    self._news.notify_all()
                delivery.ack()


@asynccontextmanager
async def a_submitter(url: str, root: str, name: str = "laptop") -> AsyncIterator[Submitter]:
    async with Bus(url, name=name, root=root, receive_maximum=16) as bus:
        submitter = Submitter(bus, name)
        subscribed = asyncio.Event()
        task = asyncio.create_task(submitter.listen(subscribed))
        await subscribed.wait()
        try:
            yield submitter
        finally:
            task.cancel()
            await asyncio.wait([task])
