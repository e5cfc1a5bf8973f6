"""What moving a frame costs this device, compute aside: real frames to itself through the broker.

Each round is measured twice: a frame through a stage that computes nothing, and the same frame straight to the place
where answers are awaited. The difference is what a stage does with every frame: take it in, decode, dispatch, encode,
send. It is counted in CPU time, which waiting for the broker does not add to, and turned into wall time by the share
of a core that this device has. The least of a few batches is taken: other work on this process only ever adds. Frames
of real stages would add to every batch, so a batch that they passed during is measured again, a few times at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from broker.bus import Bus, FrameDelivery
from models.runtime.passed import Passed
from schemas.codec import Array
from schemas.frame import Frame, encode_frame
from schemas.frame_header import FrameHeader
from schemas.model import TensorSpec
from schemas.topics import ANSWER, STAGE, Topic
from services.worker.assignments import Assignment, Slice, StageKey
from services.worker.lane import Lane
from services.worker.line import Beside, Line, Traffic

SMALL_BYTES: Final = 1_000
LARGE_BYTES: Final = 1_000_000
PROBE_BYTES: Final = 30_000
LARGE_WITHIN_S: Final = 8.0
"""About how long the large frames may take: over a slow link they would take minutes, and nobody waits so long."""
_BATCHES: Final = 4
_TRIES: Final = 4
_FRAMES: Final = 8
_TIMEOUT_S: Final = 30.0


class Echo:
    """A stage that computes nothing."""

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """What came in."""
        return dict(tensors)

    def run_until(self, tensors: Mapping[str, Array], thresholds: Mapping[str, float]) -> Passed:  # noqa: ARG002
        """The same; nobody leaves."""
        return Passed(self.run(tensors))


@dataclass(frozen=True, slots=True)
class Visit:
    """What one frame's visit to a stage without computation cost."""

    bytes_in: int
    bytes_out: int
    cpu_s: float

    @property
    def moved_bytes(self) -> int:
        """Both ways: a stage pays for what it takes in and for what it sends."""
        return self.bytes_in + self.bytes_out


@dataclass(frozen=True, slots=True)
class FrameCost:
    """Fixed cost of one visit, and cost per megabyte in plus out, ms of wall time (`schemas.device.Profile`)."""

    frame_ms: float
    frame_ms_per_mb: float


async def measure_frame_cost(bus: Bus, line: Line, *, device: str, private: str, capacity_cores: float) -> FrameCost:
    """Measure, in well under a second of CPU time; frames of real stages are served meanwhile.

    Args:
        bus: the worker's own.
        line: the same code path that real frames take.
        device: this device.
        private: a deployment name that nobody else uses. Answers come to the device's own name, because a hub with
            users lets a device hear nothing else.
        capacity_cores: what this device has; below one core, CPU time takes longer than itself.
    """

    async def visit(nbytes: int, batches: int = _BATCHES) -> Visit:
        return Visit(nbytes, nbytes, await _cost_s(bus, line, device, private, nbytes, batches=batches))

    small, started = await visit(SMALL_BYTES), time.monotonic()
    await visit(PROBE_BYTES, batches=1)
    most = min(LARGE_BYTES, bus.max_packet_bytes // 2)
    large = await visit(large_bytes(time.monotonic() - started, most))
    return frame_cost(small, large, capacity_cores)


def large_bytes(probe_s: float, most: int) -> int:
    """The largest frames that this link and this device measure in time, at most `most`. Pure.

    Args:
        probe_s: how long one batch of each kind, and one to warm up, took with frames of `PROBE_BYTES`.
        most: what would be measured if time were no matter; bytes.
    """
    # In passes of a frame up and down: a stage's frame makes two, a straight one makes one.
    share = (2 + 3 * _BATCHES) / (2 + 3)
    in_time = PROBE_BYTES * LARGE_WITHIN_S / (share * max(probe_s, 1e-6))
    return int(min(most, max(PROBE_BYTES, in_time)))


def frame_cost(small: Visit, large: Visit, capacity_cores: float) -> FrameCost:
    """The line through two measured visits, as wall time on a device of that many cores. Pure."""
    slow_down = 1000.0 / min(1.0, capacity_cores)
    per_byte = max(0.0, large.cpu_s - small.cpu_s) / max(1, large.moved_bytes - small.moved_bytes)
    fixed = max(0.0, small.cpu_s - per_byte * small.moved_bytes)
    return FrameCost(fixed * slow_down, per_byte * 1e6 * slow_down)


async def _cost_s(bus: Bus, line: Line, device: str, private: str, nbytes: int, *, batches: int) -> float:
    """CPU seconds that a stage without computation spends on one frame of that size."""
    lane = _lane(device, private, nbytes)
    key = lane.assignment.key
    header = FrameHeader(
        kind="work",
        request="probe",
        submitter=device,
        deployment=private,
        generation=key.generation,
        budget_ms=60_000.0,
    )
    payload = encode_frame(header, {"x": np.zeros(nbytes, np.uint8)})
    stage: dict[str, str | int] = {
        "deployment": private,
        "generation": key.generation,
        "device": device,
        "stage": key.stage,
    }
    own = Traffic()
    async with _serving(line, lane, own), bus.frames(ANSWER, submitter=device) as answers:

        async def batch(topic: Topic[Frame], where: dict[str, str | int]) -> float:
            started = time.process_time()
            for _ in range(_FRAMES):
                await bus.send_frame(topic, payload, expiry_s=60, correlation="probe", **where)  # type: ignore[arg-type]
                await _next(answers)
            return (time.process_time() - started) / _FRAMES

        def beside() -> Beside:
            return line.beside(own)

        await batch(STAGE, stage)
        costs = [
            (
                await undisturbed(partial(batch, STAGE, stage), beside),
                await undisturbed(partial(batch, ANSWER, {"submitter": device}), beside),
            )
            for _ in range(batches)
        ]
    return max(0.0, min(through for through, _ in costs) - min(straight for _, straight in costs))


async def undisturbed(batch: Callable[[], Awaitable[float]], beside: Callable[[], Beside]) -> float:
    """What a batch costs while no frames of other stages pass.

    Where they never stop, the least of a few tries, which still is too much.
    """
    costs: list[float] = []
    for _ in range(_TRIES):
        before = beside()
        cost = await batch()
        if before.in_flight == 0 and beside().frames == before.frames:
            return cost
        costs.append(cost)
    return min(costs)


async def _next(answers: AsyncIterator[FrameDelivery]) -> None:
    delivery = await asyncio.wait_for(anext(answers), _TIMEOUT_S)
    delivery.ack()


@asynccontextmanager
async def _serving(line: Line, lane: Lane, traffic: Traffic) -> AsyncIterator[None]:
    subscribed = asyncio.Event()
    task = asyncio.create_task(line.serve(lane, traffic, subscribed.set))
    try:
        waiting = asyncio.create_task(subscribed.wait())
        await asyncio.wait([waiting, task], return_when=asyncio.FIRST_COMPLETED)
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def _lane(device: str, private: str, nbytes: int) -> Lane:
    spec = TensorSpec(name="x", dtype="uint8", shape=(nbytes,))
    key = StageKey(private, 1, "r0s0")
    assignment = Assignment(key, private, Slice("", 0, 1), 0, "fp32", None, None)
    return Lane(device, assignment, (spec,), (spec,), Echo())
