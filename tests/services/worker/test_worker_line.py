"""The line on a bus that exists only here: what a frame does that nobody foresaw, and what is logged of many."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from broker.bus import Bus, FrameDelivery
from schemas.codec import Array
from schemas.frame import Frame, FrameHeader, encode_frame, open_frame
from schemas.model import TensorSpec
from services.worker import stage_work
from services.worker.assignments import Assignment, Slice, StageKey
from services.worker.line import Line, Traffic
from services.worker.stage_work import Done, Lane
from services.worker.timing import Timings

POISON = 3.0
X = TensorSpec(name="x", dtype="float32", shape=(1, 4))


class Same:
    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        return dict(tensors)


LANE = Lane(
    "pi4",
    Assignment(StageKey("cats", 1, "r0s0"), "net", Slice("a" * 64, 0, 1), 0, "fp32", None, None),
    (X,),
    (X,),
    Same(),
)


def frame(request: str, tensors: Mapping[str, Array]) -> Frame:
    header = FrameHeader(
        kind="work", request=request, submitter="laptop", deployment="cats", generation=1, budget_ms=1000.0
    )
    return open_frame(encode_frame(header, tensors))


class OneBus:
    """Delivers the frames it was given, and keeps what is sent."""

    def __init__(self, frames: list[Frame], *, heard: bool = True) -> None:
        self._frames = frames
        self._heard = heard
        self.sent: dict[str, Frame] = {}
        self.acknowledged = 0

    def _ack(self) -> None:
        self.acknowledged += 1

    @asynccontextmanager
    async def frames(self, *_: object, **__: object) -> AsyncIterator[AsyncIterator[FrameDelivery]]:
        async def deliveries() -> AsyncIterator[FrameDelivery]:
            for one in self._frames:
                delivery: Any = FrameDelivery(
                    frame=one, parameters={}, expiry_s=60, received_at=time.monotonic(), _ack=self._ack
                )
                yield delivery

        yield deliveries()

    async def send_frame(self, _topic: object, payload: bytes, *, correlation: str, **_: object) -> bool:
        self.sent[correlation] = open_frame(payload)
        return self._heard


async def through(bus: OneBus) -> Timings:
    timings = Timings("pi4", "boot")
    async with Line(cast("Bus", bus), "pi4", timings) as line:
        await line.serve(LANE, Traffic(), lambda: None)
    return timings


GOOD = {"x": np.ones((1, 4), np.float32)}


async def test_a_bug_that_one_frame_finds_fails_that_frame_and_shows_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def process(lane: Lane, frame: Frame, *rest: Any) -> Generator[None, None, Done]:
        if frame.header.request.startswith("bad"):
            raise OverflowError("too many joules")
        return (yield from stage_work.process(lane, frame, *rest))

    monkeypatch.setattr("services.worker.line.process", process)
    bus = OneBus([frame(request, GOOD) for request in ("bad1", "bad2", "good")])
    timings = await through(bus)
    assert {request: back.header.kind for request, back in bus.sent.items()} == {
        "bad1": "error",
        "bad2": "error",
        "good": "answer",
    }
    fault = bus.sent["bad1"].header.fault
    assert fault is not None
    assert (fault.code, fault.detail) == ("stage-failed", "stage cats/1/r0s0: OverflowError: too many joules")
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert error.exc_info is not None
    fields = {name: vars(error)[name] for name in ("request", "submitter", "deployment", "generation", "stage")}
    assert fields == {
        "request": "bad1", "submitter": "laptop", "deployment": "cats", "generation": 1, "stage": "r0s0",
    }  # fmt: skip
    assert (bus.acknowledged, timings.rejected["stage-failed"]) == (3, 2)


@pytest.mark.parametrize("heard", [True, False])
async def test_many_refused_frames_are_counted_one_by_one_and_logged_in_a_line(
    heard: bool, caplog: pytest.LogCaptureFixture
) -> None:
    long = {f"{number}{'x' * 500}": np.zeros(1, np.float32) for number in range(64)}
    bus = OneBus([frame(f"r{number}", long) for number in range(100)], heard=heard)
    timings = await through(bus)
    assert timings.rejected["bad-input"] == len(bus.sent) == 100
    lines = [record.getMessage() for record in caplog.records if record.name == "services.worker.line"]
    assert len(lines) == (1 if heard else 2)
    assert all(len(line) < 700 for line in lines)


class Unspeakable(Exception):  # noqa: N818  it is not ours to name
    """An error that cannot even be told."""

    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no text: \ud800"),
        ValueError("long " * 100_000),
        Unspeakable(),
        MemoryError(),
        RecursionError(),
        SystemExit(1),
        KeyboardInterrupt(),
        GeneratorExit(),
        BaseException("whatever"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_one_input_makes_a_model_raise_is_that_request_s_answer_and_the_rest_are_served(
    error: BaseException,
) -> None:
    class Poisoned:
        def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
            if tensors["x"][0, 0] == POISON:
                raise error
            return dict(tensors)

    inputs = {f"r{number}": {"x": np.full((1, 4), float(number), np.float32)} for number in range(6)}
    bus = OneBus([frame(request, tensors) for request, tensors in inputs.items()])
    lane = replace(LANE, runner=Poisoned())
    async with Line(cast("Bus", bus), "pi4", Timings("pi4", "boot")) as line:
        await line.serve(lane, Traffic(), lambda: None)
    kinds = {request: back.header.kind for request, back in bus.sent.items()}
    assert kinds == {request: "error" if request == "r3" else "answer" for request in inputs}
    fault = bus.sent["r3"].header.fault
    assert fault is not None
    assert fault.code == "stage-failed"
    assert len(fault.detail) <= 1000


@pytest.mark.parametrize("shape", [(2, 4), (0,)])
async def test_a_runner_that_returns_nonsense_fails_one_request(shape: tuple[int, ...]) -> None:
    class Odd:
        def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
            return dict(tensors) if tensors["x"][0, 0] else {"y": np.zeros(shape, np.complex64)}

    zero = {"x": np.zeros((1, 4), np.float32)}
    bus = OneBus([frame("odd", zero), frame("good", GOOD)])
    async with Line(cast("Bus", bus), "pi4", Timings("pi4", "boot")) as line:
        await line.serve(replace(LANE, runner=Odd()), Traffic(), lambda: None)
    assert {request: back.header.kind for request, back in bus.sent.items()} == {"odd": "error", "good": "answer"}


class Grows:
    """Gives more than a frame may hold."""

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        return {"x": np.zeros((1, 17 << 20), np.float32)}


class TwoStages(OneBus):
    """Frames for the band; those for the stage that joins bands never come from outside."""

    @asynccontextmanager
    async def frames(self, *_: object, **where: object) -> AsyncIterator[AsyncIterator[FrameDelivery]]:
        async def nothing() -> AsyncIterator[FrameDelivery]:
            await asyncio.Event().wait()
            yield cast("Any", None)

        async with super().frames() as deliveries:
            yield nothing() if where["stage"] == "r0s0" else deliveries


async def test_a_band_too_large_for_any_frame_is_refused_as_such_also_where_the_same_device_joins_it() -> None:
    wide = TensorSpec(name="x", dtype="float32", shape=(1, 17 << 20))
    band = replace(
        LANE.assignment, key=StageKey("cats", 1, "r0b0"), next_device="pi4", next_stage="r0s0", band=0, bands=2
    )
    computing = replace(LANE, assignment=band, gives=(wide,), runner=Grows())
    joining = replace(LANE, takes=(wide,), parts=(wide, wide))
    one = frame("q1", GOOD)
    bus = TwoStages([replace(one, header=one.header.model_copy(update={"band": 0, "bands": 2}))])
    timings = Timings("pi4", "boot")
    ready = asyncio.Event()
    async with Line(cast("Bus", bus), "pi4", timings) as line:
        joined = asyncio.create_task(line.serve(joining, Traffic(), ready.set))
        await ready.wait()
        await line.serve(computing, Traffic(), lambda: None)
        joined.cancel()
        await asyncio.gather(joined, return_exceptions=True)
    fault = bus.sent["q1"].header.fault
    assert fault is not None
    assert fault.code == "too-large"
    assert "the limit is 67108864" in fault.detail
    assert (bus.acknowledged, timings.rejected) == (1, {"too-large": 1})
