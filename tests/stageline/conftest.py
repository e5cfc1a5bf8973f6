"""A stage line that does what a test tells it: it answers what comes on stage topics, fails it, or keeps silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import numpy as np
import pytest

from broker.bus import Bus
from broker.delivery import FrameDelivery
from broker.embedded import EmbeddedBroker
from schemas.frame import Frame, encode_frame
from schemas.frame_header import ErrorCode, FrameFault, FrameHeader, StageTrace
from schemas.model import Blob, Block, Cut, ModelCard, Preprocess, TensorSpec
from schemas.parts import stage_id
from schemas.plan import Plan, Route, Stage
from schemas.plan_text import stage_places
from schemas.stages import HeldStage, StagesHeld
from schemas.topics import ANSWER, DEVICE_STAGES, MODEL_CARD, PLAN_CURRENT, STAGE
from stageline.client import Client
from stageline.patience import Patience

Behaviour = Callable[["FakeLine", FrameDelivery], Coroutine[Any, Any, None]]


def doubler_card(
    *,
    shape: tuple[int, ...] = (1, 4),
    dtype: str = "float32",
    preprocess: Preprocess | None = None,
    name: str = "doubler",
) -> ModelCard:
    """A model of one block; its input is `x`, its output `y`, four classes."""
    x = TensorSpec.model_validate({"name": "x", "dtype": dtype, "shape": shape})
    y = TensorSpec(name="y", dtype="float32", shape=(1, 4))
    block = Block(label="all", first_node=0, last_node=1, macs=4, weight_bytes=0, peak_activation_bytes=32)
    return ModelCard(
        name=name, source="test", graph=Blob(sha256="0" * 64, nbytes=1), blobs=(), blocks=(block,),
        cuts=(Cut(tensors=(x,)), Cut(tensors=(y,))), inputs=(x,), outputs=(y,), preprocess=preprocess,
        labels=("ant", "bee", "cat", "dog"),
    )  # fmt: skip


class FakeLine:
    """Every device of a plan in one coroutine. Answers with twice the input (or the mean colour of a picture)."""

    def __init__(self, bus: Bus, behaviour: Behaviour | None = None) -> None:
        self.bus = bus
        self.behaviour = behaviour or FakeLine.answer
        self.seen: list[FrameHeader] = []
        self.arrived = asyncio.Condition()

    async def serve(
        self, *devices: str, generation: int = 1, window: int = 2, card: ModelCard | None = None, deployment: str = "d"
    ) -> Plan:
        """Make one-stage routes over these devices the plan that is served."""
        card = card or doubler_card()
        plan = Plan(
            deployment=deployment, generation=generation, model=card.name, card_sha=card.sha256, objective="latency",
            policy="exact",
            routes=tuple(
                Route(stages=(Stage(device=one, first=0, last=1),), weight=1 / len(devices), window=window)
                for one in devices
            ),
        )  # fmt: skip
        await self.bus.publish(MODEL_CARD, card, model=card.name)
        for index, device in enumerate(devices):
            await self.hold(device, plan, index)
        await self.bus.publish(PLAN_CURRENT, plan, deployment=deployment)
        return plan

    async def hold(self, device: str, plan: Plan, route: int) -> None:
        """Say that this device is there and ready."""
        held = HeldStage(
            deployment=plan.deployment, generation=plan.generation, stage=stage_id(route, 0), model=plan.model,
            card_sha=plan.card_sha, first=0, last=1, state="ready",
        )  # fmt: skip
        await self.bus.publish(
            DEVICE_STAGES, StagesHeld(device=device, boot_id="b1", online=True, stages=(held,)), device=device
        )

    async def die(self, device: str) -> None:
        """What the broker says when a worker's connection breaks."""
        await self.bus.publish(
            DEVICE_STAGES, StagesHeld(device=device, boot_id="b1", online=False, reason="lost"), device=device
        )

    async def run(self, frames: AsyncIterator[FrameDelivery]) -> None:
        async with asyncio.TaskGroup() as group:
            async for delivery in frames:
                self.seen.append(delivery.frame.header)
                async with self.arrived:
                    self.arrived.notify_all()
                group.create_task(self.behaviour(self, delivery))
                delivery.ack()

    async def until_seen(self, count: int) -> None:
        async with self.arrived, asyncio.timeout(10):
            await self.arrived.wait_for(lambda: len(self.seen) >= count)

    async def answer(self, delivery: FrameDelivery) -> None:
        await self._send(delivery.frame, {"y": _answer(delivery.frame)}, device=delivery.parameters["device"])

    async def fail(self, delivery: FrameDelivery, code: ErrorCode, detail: str = "it broke") -> None:
        fault = FrameFault(code=code, detail=detail, device=delivery.parameters["device"])
        await self._send(delivery.frame, None, fault=fault)

    async def _send(
        self, frame: Frame, tensors: dict[str, np.ndarray] | None, *, fault: FrameFault | None = None, device: str = ""
    ) -> None:
        header = frame.header
        trace = StageTrace(
            device=device or "x", first=0, last=1, wait_ms=1.0, compute_ms=2.0, codec_ms=0.5, bytes_in=frame.nbytes,
            bytes_out=100, energy_j=0.01, energy_method="modelled", energy_source="test",
        )  # fmt: skip
        reply = header.model_copy(
            update={"kind": "error" if fault else "answer", "fault": fault, "trace": (trace,), "tensors": ()}
        )
        await self.bus.send_frame(
            ANSWER, encode_frame(reply, tensors), expiry_s=10, correlation=header.request, submitter=header.submitter
        )


def _answer(frame: Frame) -> np.ndarray:
    x = frame.arrays()["x"]
    if x.dtype == np.uint8:
        return np.resize(x.mean(axis=(1, 2)) / 255, (1, 4)).astype(np.float32)
    return (2 * x.astype(np.float32)).reshape(-1)[:4].reshape(1, 4)


def route_of(delivery: FrameDelivery) -> int:
    """Which route a frame came over."""
    return stage_places(delivery.parameters["stage"])[0]


@asynccontextmanager
async def open_line(
    broker: EmbeddedBroker, root: str, behaviour: Behaviour | None = None, deployment: str = "d"
) -> AsyncIterator[FakeLine]:
    """A fake line that listens; `serve` gives it a plan."""
    async with (
        Bus(broker.url, name="fake-line", root=root, receive_maximum=20) as bus,
        bus.frames(STAGE, deployment=deployment) as frames,
    ):
        line = FakeLine(bus, behaviour)
        task = asyncio.create_task(line.run(frames))
        try:
            yield line
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def make_card() -> Callable[..., ModelCard]:
    """Cards of other shapes."""
    return doubler_card


@pytest.fixture
def running_line() -> Callable[..., AbstractAsyncContextManager[FakeLine]]:
    """Lines on other brokers, or of other deployments."""
    return open_line


@pytest.fixture
async def line(broker: EmbeddedBroker, root: str) -> AsyncIterator[FakeLine]:
    """A line that answers everything, until a test changes its `behaviour`."""
    async with open_line(broker, root) as one:
        yield one


@pytest.fixture
def client_of(broker: EmbeddedBroker, root: str) -> Callable[..., Client]:
    """Clients of the line's deployment; settings may be others.

    They send nothing again for want of an answer: how long one takes says something of this machine and its other work.
    """

    def make(**more: object) -> Client:
        settings = {"deployment": "d", "deadline_s": 10.0, "patience": Patience(floor_s=60), **more}
        return Client(broker.url, root=root, **settings)

    return make
