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
from schemas.frame import Frame, encode_frame, open_frame
from schemas.frame_header import FrameHeader
from schemas.model import TensorSpec
from services.worker import stage_work
from services.worker.assignments import Assignment, Slice, StageKey
from services.worker.lane import Lane
from services.worker.line import Line, Traffic
from services.worker.stage_work import Done
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
        kind="work", request=request, submitter="laptop", deployment="cats", generation=1, budget_ms=60_000.0
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
    lines = [record.getMessage() for record in caplog.records if record.name == "services.worker.results"]
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


class Bands(OneBus):
    """Each band gets its own frames; those for the stage that joins them never come from outside."""

    @asynccontextmanager
    async def frames(self, *_: object, **where: object) -> AsyncIterator[AsyncIterator[FrameDelivery]]:
        async def mine() -> AsyncIterator[FrameDelivery]:
            async with super(Bands, self).frames() as deliveries:
                async for one in deliveries:
                    if where["stage"] == f"r0b{one.frame.header.band}":
                        yield one
            if where["stage"] == "r0s0":
                await asyncio.Event().wait()

        yield mine()


def in_bands(request: str) -> tuple[list[Array], list[Frame]]:
    """Two bands of one request, and the frames that they come in."""
    arrays = [np.random.default_rng(seed).standard_normal((1, 1, 2, 4)).astype(np.float32) for seed in range(2)]
    frames = [frame(request, {"x": array}) for array in arrays]
    return arrays, [
        replace(one, header=one.header.model_copy(update={"band": band, "bands": 2})) for band, one in enumerate(frames)
    ]


def band_lane(band: int) -> Lane:
    part = TensorSpec(name="x", dtype="float32", shape=(1, 1, 2, 4))
    here = replace(
        LANE.assignment, key=StageKey("cats", 1, f"r0b{band}"), codec="u8", next_device="pi4", next_stage="r0s0",
        band=band, bands=2,
    )  # fmt: skip
    return replace(LANE, assignment=here, takes=(part,), gives=(part,))


async def test_bands_that_the_same_device_joins_are_handed_on_as_they_are_and_nothing_is_coded_or_sent() -> None:
    arrays, frames = in_bands("q1")
    whole = TensorSpec(name="x", dtype="float32", shape=(1, 1, 4, 4))
    joining = replace(LANE, takes=(whole,), gives=(whole,), parts=band_lane(0).gives * 2)
    bus, timings, ready = Bands(frames), Timings("pi4", "boot"), asyncio.Event()
    async with Line(cast("Bus", bus), "pi4", timings) as line:
        joined = asyncio.create_task(line.serve(joining, Traffic(), ready.set))
        await ready.wait()
        await asyncio.gather(*(line.serve(band_lane(band), Traffic(), lambda: None) for band in range(2)))
        joined.cancel()
        await asyncio.gather(joined, return_exceptions=True)
    answer = bus.sent["q1"]
    np.testing.assert_array_equal(answer.arrays()["x"], np.concatenate(arrays, axis=2))
    assert [(one.bytes_in, one.bytes_out) for one in answer.header.trace] == [(32, 0), (32, 0), (0, 64)]
    assert (bus.acknowledged, timings.rejected) == (2, {})


async def test_a_band_whose_stage_on_the_same_device_is_gone_is_refused_so_that_it_is_sent_again() -> None:
    _, frames = in_bands("q1")
    bus, timings = Bands(frames[:1]), Timings("pi4", "boot")
    async with Line(cast("Bus", bus), "pi4", timings) as line:
        await line.serve(band_lane(0), Traffic(), lambda: None)
    fault = bus.sent["q1"].header.fault
    assert fault is not None
    assert (fault.code, bus.acknowledged, timings.rejected) == ("draining", 1, {"draining": 1})
    assert "pi4 does not listen for stage r0s0" in fault.detail
