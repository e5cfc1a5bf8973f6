"""Where planners are tested: a bus to look and ask with, a library, and devices that are not there."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from models.library import Library
from schemas.base import Message
from schemas.deployment import Decision, Deployment
from schemas.model import ModelCard
from schemas.plan import Plan
from schemas.topics import DEPLOYMENT, PLAN_CURRENT, PLAN_DECISION, PLAN_NEXT, Topic
from services.planner.main import serve
from services.planner.settings import PlannerSettings
from tests.services.planner.fake_device import FakeDevice
from tests.services.planner.hand_made_model import make_card

WITHIN_S = 60.0
M = TypeVar("M", bound=Message)


class House:
    """One planner's surroundings: a bus to look and ask with, and the fake devices on it."""

    def __init__(self, bus: Bus, broker: EmbeddedBroker, root: str, library: Library) -> None:
        self.bus = bus
        self.broker = broker
        self.root = root
        self.library = library
        self.seen: list[tuple[str, Any]] = []
        self.now: dict[tuple[str, str], Any] = {}
        self._following: list[tuple[tuple[str, str], asyncio.Queue[Any]]] = []
        self._news = asyncio.Condition()
        self._open = contextlib.AsyncExitStack()
        self._tasks: list[asyncio.Task[Any]] = []

    def import_model(self, name: str = "net", *, blocks: int = 4, weight_bytes: int = 1000) -> ModelCard:
        return make_card(self.library, name, blocks=blocks, weight_bytes=weight_bytes)

    async def watch(self, topic: Topic[Any]) -> None:
        async def follow(deliveries: AsyncIterator[Any]) -> None:
            async for change in deliveries:
                name = next(iter(change.parameters.values()), "")
                async with self._news:
                    self.now[topic.template, name] = change.message
                    self.seen.append((topic.template, change.message))
                    for key, following in self._following:
                        if key == (topic.template, name):
                            following.put_nowait(change.message)
                    self._news.notify_all()

        deliveries = await self._open.enter_async_context(self.bus.watch(topic))
        self._tasks.append(asyncio.create_task(follow(deliveries)))

    async def until(self, topic: Topic[M], name: str, true: Callable[[M], bool]) -> M:
        """The first state of a topic, from now on, of which it is true, however soon another follows it."""
        key = topic.template, name
        if (found := self.now.get(key)) is not None and true(found):
            return found  # type: ignore[no-any-return]
        following: asyncio.Queue[M | None] = asyncio.Queue()
        self._following.append((key, following))
        try:
            async with asyncio.timeout(WITHIN_S):
                while True:
                    if (found := await following.get()) is not None and true(found):
                        return found
        except TimeoutError:
            pytest.fail(f"{topic.template} of {name} stayed {found!r}")
        finally:
            self._following.remove((key, following))

    async def cleared(self, topic: Topic[Any], name: str) -> None:
        async with asyncio.timeout(WITHIN_S), self._news:
            await self._news.wait_for(lambda: self.now.get((topic.template, name), 0) is None)

    async def decision(self, state: str, deployment: str = "cats", *, generation: int | None = None) -> Decision:
        return await self.until(
            PLAN_DECISION,
            deployment,
            lambda told: told.state == state and generation in (None, told.generation),
        )

    async def serving(self, deployment: str = "cats", *, generation: int = 1) -> Plan:
        await self.decision("serving", deployment, generation=generation)
        plan: Plan = self.now[PLAN_CURRENT.template, deployment]
        assert plan.generation == generation
        return plan

    def history(self, topic: Topic[M]) -> list[M | None]:
        return [message for template, message in self.seen if template == topic.template]

    async def want(self, deployment: str = "cats", model: str = "net", **wish: Any) -> Deployment:
        wanted = Deployment(deployment=deployment, model=model, **{"requested": time.time(), **wish})
        await self.bus.publish(DEPLOYMENT, wanted, deployment=deployment, remember=False)
        return wanted

    @contextlib.asynccontextmanager
    async def planner(self, *, may_fail: bool = False, **settings: Any) -> AsyncIterator[asyncio.Task[None]]:
        """A planner in this process, stopped in good order at the end."""
        quick = {"settle_s": 0.0, "answer_within_s": 5.0, **settings}
        made = PlannerSettings(broker=self.broker.url, root=self.root, library=self.library.root, **quick)
        task = asyncio.create_task(serve(made))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait((task,))
        if not task.cancelled() and not may_fail:
            task.result()

    async def device(self, name: str, **traits: Any) -> FakeDevice:
        device = FakeDevice(self.broker, self.root, name, **traits)
        await self._open.enter_async_context(device)
        return device

    async def __aenter__(self) -> House:
        for topic in (PLAN_NEXT, PLAN_CURRENT, PLAN_DECISION):
            await self.watch(topic)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._open.aclose()
