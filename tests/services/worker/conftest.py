"""What a worker is tested against: a hub in a few lines (cards, plans, blobs), a submitter, workers as processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench.exits.network import bright_network
from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from models.importer import import_model
from models.library import Library
from schemas.codec import Array
from schemas.frame import Frame, FrameHeader, encode_frame
from schemas.model import BlobChunk, ModelCard
from schemas.plan import Plan
from schemas.plan_text import parse_route
from schemas.stages import HeldStage, StagesHeld
from schemas.topics import (
    ANSWER,
    BLOB_CHUNK,
    BLOB_REQUEST,
    DEVICE_STAGES,
    MODEL_CARD,
    PLAN_CURRENT,
    PLAN_NEXT,
    STAGE,
)

WIDE = 1024
TIMEOUT_S = 20.0


def dense_model() -> onnx.ModelProto:
    """Three dense layers with ReLU between; the middle one's weights are 2 MB, several chunks."""
    rng = np.random.default_rng(5)

    def weight(name: str, rows: int, columns: int) -> TensorProto:
        return numpy_helper.from_array(
            (rng.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32), name
        )

    nodes = [
        helper.make_node("Gemm", ["x", "w1"], ["a1"], "dense1", transB=1),
        helper.make_node("Relu", ["a1"], ["h1"], "relu1"),
        helper.make_node("Gemm", ["h1", "w2"], ["a2"], "dense2", transB=1),
        helper.make_node("Relu", ["a2"], ["h2"], "relu2"),
        helper.make_node("Gemm", ["h2", "w3"], ["y"], "dense3", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [weight("w1", WIDE, 64), weight("w2", 512, WIDE), weight("w3", 10, 512)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def lookup_model() -> onnx.ModelProto:
    """Picks a row by number: ONNX Runtime raises when there is no such row."""
    rows = numpy_helper.from_array(np.eye(4, dtype=np.float32), "rows")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["rows", "number"], ["row"], "pick")],
        "lookup",
        [helper.make_tensor_value_info("number", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, [1, 4])],
        [rows],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def slow_model() -> onnx.ModelProto:
    """Three convolutions over 100 KB of input: about ten milliseconds, and little to keep."""
    rng = np.random.default_rng(6)

    def weight(name: str, outputs: int, inputs: int) -> TensorProto:
        values = rng.standard_normal((outputs, inputs, 3, 3)) / np.sqrt(9 * inputs)
        return numpy_helper.from_array(values.astype(np.float32), name)

    def convolution(takes: str, weight: str, gives: str) -> onnx.NodeProto:
        return helper.make_node("Conv", [takes, weight], [gives], gives, kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    graph = helper.make_graph(
        [
            convolution("x", "w1", "h1"),
            convolution("h1", "w2", "h2"),
            convolution("h2", "w3", "h3"),
            helper.make_node("GlobalAveragePool", ["h3"], ["y"], "pool"),
        ],
        "slow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 56, 56])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64, 1, 1])],
        [weight("w1", 64, 8), weight("w2", 64, 64), weight("w3", 64, 64)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def count_model() -> onnx.ModelProto:
    """Counts to its input, one by one: with a large one it does not come back."""
    step = helper.make_graph(
        [
            helper.make_node("Identity", ["more_in"], ["more_out"], "go_on"),
            helper.make_node("Add", ["sum_in", "one"], ["sum_out"], "add"),
        ],
        "step",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("more_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_in", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("more_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_out", TensorProto.FLOAT, [1]),
        ],
        [numpy_helper.from_array(np.ones(1, np.float32), "one")],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Squeeze", ["number"], ["times"], "times"),
            helper.make_node("Loop", ["times", "yes", "zero"], ["sum"], "count", body=step),
        ],
        "count",
        [helper.make_tensor_value_info("number", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.array(True), "yes"), numpy_helper.from_array(np.zeros(1, np.float32), "zero")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def bright_model() -> onnx.ModelProto:
    """Four small convolutions and two exits: bright pictures leave at the first, dark ones at none."""
    return bright_network(layers=4, channels=8, size=16, exits={"exit1": 1, "exit2": 3})


MODELS = {
    "dense": dense_model, "lookup": lookup_model, "slow": slow_model, "count": count_model, "bright": bright_model,
}  # fmt: skip


@pytest.fixture(scope="session")
def worker_library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Holds all of `MODELS`."""
    folder = tmp_path_factory.mktemp("worker")
    library = Library(folder / "library")
    for name, model in MODELS.items():
        onnx.save(model(), folder / f"{name}.onnx")
        import_model(str(folder / f"{name}.onnx"), library, name=name)
    return library


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
            budget_ms=15_000.0,
        )
        return header.model_copy(update=changes)

    async def send(self, plan: Plan, payload: bytes, *, request: str = "?", expiry_s: int = 15) -> bool:
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


class WorkerProcess:
    """A worker as people run it: its own process."""

    def __init__(self, url: str, root: str, device: str, folder: Path, **settings: str) -> None:
        self.device = device
        self._log = folder / f"{device}.log"
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("STAGELINE_", "COVERAGE"))
        }
        environment |= {f"STAGELINE_{name.upper()}": value for name, value in settings.items()}
        environment |= {"STAGELINE_STATE_DIR": str(folder / device)}
        command = [sys.executable, "-m", "services.worker.main", "--broker", url, "--root", root, "--device", device]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def log(self) -> str:
        return self._log.read_text()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit code."""
        self.process.send_signal(how)
        return self.process.wait(TIMEOUT_S)

    async def ended(self) -> int:
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait), TIMEOUT_S)


@dataclass
class Lab:
    """Everything one test needs: a hub, a submitter, the dense model, and workers to start."""

    hub: Hub
    submitter: Submitter
    url: str
    root: str
    folder: Path
    card: ModelCard
    whole: Callable[[Array], Array]
    """The unsplit model."""
    workers: list[WorkerProcess] = field(default_factory=list)

    def start(self, device: str, **settings: str) -> WorkerProcess:
        worker = WorkerProcess(self.url, self.root, device, self.folder, **settings)
        self.workers.append(worker)
        return worker

    def plan(self, text: str, generation: int = 1, model: str = "dense") -> Plan:
        """A plan of one route, from its text; `[0:)` ends with the model."""
        card = self.hub.library.card(model)
        route = parse_route(text.replace(":)", f":{len(card.blocks)})"))
        return Plan(
            deployment="cats",
            generation=generation,
            model=card.name,
            card_sha=card.sha256,
            objective="latency",
            policy="exact",
            routes=(route,),
        )

    def input(self, seed: int = 0) -> Array:
        return np.random.default_rng(seed).standard_normal((1, 64)).astype(np.float32)

    def cache(self, device: str) -> Path:
        """Where that worker keeps weights."""
        return self.folder / device / "worker" / device / "blobs"


@asynccontextmanager
async def a_lab(url: str, root: str, library: Library, folder: Path) -> AsyncIterator[Lab]:
    """The hub has published its cards. Workers that still run at the end are killed."""
    import onnxruntime

    session = onnxruntime.InferenceSession(dense_model().SerializeToString(), providers=["CPUExecutionProvider"])
    async with a_hub(url, root, library) as hub, a_submitter(url, root) as submitter:
        lab = Lab(
            hub=hub,
            submitter=submitter,
            url=url,
            root=root,
            folder=folder,
            card=library.card("dense"),
            whole=lambda x: session.run(None, {"x": x})[0],
        )
        for card in library.cards().values():
            await hub.card(card)
        try:
            yield lab
        finally:
            for worker in lab.workers:
                if worker.process.poll() is None:
                    worker.stop(signal.SIGKILL)


@pytest.fixture
async def lab(broker: EmbeddedBroker, root: str, worker_library: Library, tmp_path: Path) -> AsyncIterator[Lab]:
    async with a_lab(broker.url, root, worker_library, tmp_path) as lab:
        yield lab


@pytest.fixture
def own_broker_lab(
    root: str, worker_library: Library, tmp_path: Path
) -> Callable[..., AbstractAsyncContextManager[tuple[EmbeddedBroker, Lab]]]:
    """A lab on a broker of its own, which may be killed or configured: `async with own_broker_lab(**settings)`."""

    @asynccontextmanager
    async def make(**settings: str) -> AsyncIterator[tuple[EmbeddedBroker, Lab]]:
        with EmbeddedBroker(settings) as broker:
            async with a_lab(broker.url, root, worker_library, tmp_path) as lab:
                yield broker, lab

    return make
