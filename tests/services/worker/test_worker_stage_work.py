"""One frame through one stage, with a runner made of two lines."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from schemas.codec import Array
from schemas.device import Power, PowerModel
from schemas.frame import Frame, encode_frame, open_frame
from schemas.frame_header import FrameFault, FrameHeader, StageTrace
from schemas.model import TensorSpec
from services.worker import stage_work
from services.worker.assignments import Assignment, Slice, StageKey
from services.worker.energy import UNKNOWN, Watts, watts_now
from services.worker.lane import Lane, check
from services.worker.refused import RefusedError, fault_payload
from services.worker.stage_work import Done, expiry_s

WATTS = Watts(4.0, "modelled", "busy 4 W x compute time; a table")
X = TensorSpec(name="x", dtype="float32", shape=(1, 4))
Y = TensorSpec(name="y", dtype="float32", shape=(1, 4))


class Doubles:
    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        return {"y": tensors["x"] * np.float32(2)}


class Breaks:
    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        raise ValueError("Non-zero status code: bad index")


def lane(first: int = 0, next_device: str | None = None, **changes: object) -> Lane:
    key = StageKey("cats", 3, "r0s0")
    next_stage = "r0s1" if next_device else None
    assignment = Assignment(key, "net", Slice("a" * 64, first, first + 2), 0, "fp32", next_device, next_stage)
    return replace(Lane("pi4", assignment, (X,), (Y,), Doubles()), **changes)  # type: ignore[arg-type]


def header(**changes: object) -> FrameHeader:
    base = FrameHeader(kind="work", request="r1", submitter="laptop", deployment="cats", generation=3, budget_ms=1000.0)
    return base.model_copy(update=changes)


def process(lane: Lane, frame: Frame, waited_ms: float, expiry_s: int | None, watts: Watts) -> Done:
    """All steps in one go."""
    steps = stage_work.process(lane, frame, waited_ms, expiry_s, watts)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("Done", end.value)


def frame(tensors: Mapping[str, Array] | None = None, **changes: object) -> Frame:
    given = {"x": np.ones((1, 4), np.float32)} if tensors is None else tensors
    return open_frame(encode_frame(header(**changes), given))


def test_the_last_stage_answers_with_its_trace_and_a_smaller_budget() -> None:
    done = process(lane(), frame(), 5.0, 60, WATTS)
    answer = open_frame(done.payload)
    assert answer.header.kind == "answer"
    assert answer.arrays()["y"].tolist() == [[2.0] * 4]
    (trace,) = answer.header.trace
    assert trace == done.trace
    assert (trace.device, trace.first, trace.last, trace.wait_ms) == ("pi4", 0, 2, 5.0)
    assert (trace.bytes_in, trace.bytes_out) == (16, 16)
    assert trace.energy_j == pytest.approx(trace.compute_ms / 1000 * 4.0)
    assert (trace.energy_method, trace.energy_source) == ("modelled", WATTS.source)
    assert 0 < answer.header.budget_ms <= 995.0


def test_an_inner_stage_sends_work_on_and_keeps_the_traces_before_it() -> None:
    before = StageTrace(device="nano", first=0, last=2, wait_ms=0, compute_ms=1, codec_ms=0, bytes_in=1, bytes_out=2)
    done = process(lane(2, "orin"), frame(trace=(before,)), 0.0, None, WATTS)
    assert done.header.kind == "work"
    assert [trace.device for trace in open_frame(done.payload).header.trace] == ["nano", "pi4"]


def test_a_frame_whose_time_ran_out_while_waiting_is_not_computed() -> None:
    with pytest.raises(RefusedError, match="deadline passed") as refused:
        process(lane(runner=Breaks()), frame(budget_ms=10.0), 11.0, None, WATTS)
    assert refused.value.code == "expired"


def test_time_spent_waiting_at_the_broker_counts_too() -> None:
    with pytest.raises(RefusedError, match="deadline passed"):
        process(lane(), frame(budget_ms=9000.0), 1001.0, 1, WATTS)


def test_a_runner_that_raises_fails_that_request_with_the_reason() -> None:
    with pytest.raises(RefusedError, match=r"cats/3/r0s0 on this input: ValueError: Non-zero status") as refused:
        process(lane(runner=Breaks()), frame(), 0.0, None, WATTS)
    assert refused.value.code == "stage-failed"


def test_tensor_bytes_that_do_not_unpack_are_a_bad_frame() -> None:
    packed = encode_frame(header(), {"x": np.ones((1, 4), np.float32)}, "fp32+zstd")
    broken = packed.replace(b"\x28\xb5\x2f\xfd", bytes(4))  # no longer zstd
    with pytest.raises(RefusedError) as refused:
        process(lane(), open_frame(broken), 0.0, None, WATTS)
    assert refused.value.code == "bad-frame"


GOOD = np.ones((1, 4), np.float32)


@pytest.mark.parametrize(
    ("make", "code", "says"),
    [
        (lambda: frame(kind="answer"), "bad-frame", "kind 'answer'"),
        (lambda: frame(generation=2), "wrong-generation", "generation 2 came to stage cats/3/r0s0"),
        (lambda: frame(deployment="dogs"), "wrong-generation", "frame of dogs"),
        (lambda: frame(route=1), "bad-frame", "route 1"),
        (lambda: frame({}), "bad-input", r"takes x float32\[1x4\]; given: no tensor"),
        (lambda: frame({"z": GOOD}), "bad-input", r"takes x float32\[1x4\]; given: z float32\[1x4\]"),
        (lambda: frame({"x": GOOD, "z": GOOD}), "bad-input", "x float32.*, z float32"),
        (lambda: frame({"x": GOOD.reshape(4, 1)}), "bad-input", r"takes x float32\[1x4\]; given: x float32\[4x1\]"),
        (lambda: frame({"x": GOOD.astype(np.int32)}), "bad-input", r"takes x float32\[1x4\]; given: x int32\[1x4\]"),
    ],
)
def test_what_a_stage_does_not_take_is_refused_with_expected_and_given(
    make: Callable[[], Frame], code: str, says: str
) -> None:
    with pytest.raises(RefusedError, match=says) as refused:
        check(lane(), make().header)
    assert refused.value.code == code


def test_wrong_tensors_between_stages_are_not_the_submitters_fault() -> None:
    with pytest.raises(RefusedError) as refused:
        check(lane(2), frame({}).header)
    assert refused.value.code == "bad-frame"


def test_a_good_frame_passes_the_checks() -> None:
    check(lane(), frame().header)


def test_a_fault_goes_back_under_the_same_request_without_tensors() -> None:
    back = open_frame(fault_payload("pi4", frame().header, RefusedError("bad-input", "x" * 9000)))
    assert (back.header.kind, back.header.request, back.header.tensors) == ("error", "r1", ())
    assert back.header.fault == FrameFault(code="bad-input", detail="x" * 997 + "...", device="pi4")


def test_expiry_is_never_zero_which_would_mean_never() -> None:
    assert [expiry_s(budget) for budget in (0.0, 1.0, 1000.0, 1001.0)] == [1, 1, 1, 2]


def test_a_meter_is_believed_before_the_model_and_nothing_is_a_silent_zero() -> None:
    model = PowerModel(idle_w=2.0, busy_w=6.0, method="modelled", source="table: Raspberry Pi 4")
    meter = Power(watts=5.0, method="measured", source="INA3221 VDD_IN")
    guess = Power(watts=3.0, method="modelled", source="load x table")
    assert watts_now(model, meter) == Watts(5.0, "measured", "INA3221 VDD_IN")
    assert watts_now(model, guess) == Watts(6.0, "modelled", "busy 6 W x compute time; table: Raspberry Pi 4")
    assert watts_now(None, guess) == UNKNOWN
    assert UNKNOWN.source == "", "a receipt says of it that nobody knows"
    assert Watts(5.0, "measured", "meter").joules(200.0) == pytest.approx(1.0)


@pytest.mark.parametrize("watts", [math.inf, 1e308, math.nan, -1.0])
def test_energy_that_is_no_figure_is_told_as_unknown(watts: float) -> None:
    class Sleeps(Doubles):
        def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
            time.sleep(0.02)
            return super().run(tensors)

    trace = process(lane(runner=Sleeps()), frame(), 0.0, None, Watts(watts * 10, "modelled", "a table")).trace
    assert (trace.energy_j, trace.energy_source) == (0.0, "")


def test_a_frame_whose_trace_is_full_is_refused_before_it_is_computed() -> None:
    one = StageTrace(device="nano", first=0, last=2, wait_ms=0, compute_ms=1, codec_ms=0, bytes_in=1, bytes_out=2)
    with pytest.raises(RefusedError, match="trace has 64 stages"):
        check(lane(), frame(trace=(one,) * 64).header)


def test_a_fault_is_short_and_valid_whatever_was_wrong() -> None:
    long = RefusedError("bad-input", "x" * 100_000)
    fault = open_frame(fault_payload("d" * 64, header(), long)).header.fault
    assert fault is not None
    assert (len(fault.detail), len(fault.device)) == (1000, 64)
