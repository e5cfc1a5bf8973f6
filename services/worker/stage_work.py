"""One frame through one stage: decode, compute and encode in steps. No bus, no clock but a stopwatch."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass

from models.runtime.passed import Passed
from schemas.codec import Array, encode_tensor
from schemas.frame import Frame, FrameError, pack_frame
from schemas.frame_header import FrameHeader, StageTrace, remaining_budget_ms
from services.worker.energy import UNKNOWN, Watts
from services.worker.handed_on import HandedOn
from services.worker.joining import Joined
from services.worker.lane import Lane
from services.worker.refused import RefusedError


@dataclass(frozen=True, slots=True)
class Done:
    """A result, ready to be sent."""

    payload: bytes
    """Empty where it is handed on."""
    header: FrameHeader
    trace: StageTrace
    met: tuple[str, ...] = ()
    """Exits that were evaluated; the header says which of them was taken, if any."""
    handed: HandedOn | None = None
    """For the stage of this device that joins it."""


def process(
    lane: Lane, frame: Frame | Joined, waited_ms: float, expiry_s: int | None, watts: Watts
) -> Generator[None, None, Done]:
    """Decode, run, encode, with a pause after the first two; belongs in the compute thread.

    Args:
        lane: the stage.
        frame: checked by `services.worker.lane.check`.
        waited_ms: time since the frame arrived here.
        expiry_s: MQTT message expiry as received, None when there was none.
        watts: for the energy in the trace.

    Raises:
        RefusedError: too late, undecodable, or the runner failed on it.
    """
    header = frame.header
    budget_ms = remaining_budget_ms(header, waited_ms, expiry_s)
    if budget_ms <= 0:
        raise RefusedError("expired", f"deadline passed before stage {lane.assignment.key} could compute")
    started = time.perf_counter()
    try:
        tensors = frame.arrays()
    except FrameError as error:
        raise RefusedError("bad-frame", str(error)) from error
    decode_s = time.perf_counter() - started
    yield
    resumed = time.perf_counter()
    try:
        passed = _run(lane, tensors)
        compute_s = time.perf_counter() - resumed
        yield
        resumed = time.perf_counter()
        gives, codec = (lane.gives, lane.assignment.codec) if passed.exit is None else (lane.answer, "fp32")
        codec = "fp32" if lane.is_joined_here else codec
        encoded = [encode_tensor(spec.name, passed.outputs[spec.name], codec) for spec in gives]
    except Exception as error:
        # Whatever a model's code raises on one input is that request's answer, not the end of this worker.
        raise RefusedError(
            "stage-failed", f"stage {lane.assignment.key} on this input: {type(error).__name__}: {error}"
        ) from error
    finished = time.perf_counter()
    compute_ms = compute_s * 1000.0
    if not 0 <= watts.joules(compute_ms) < math.inf:
        watts = UNKNOWN
    trace = StageTrace(
        device=lane.device,
        first=lane.assignment.slice.first,
        last=_computed_until(lane, passed),
        wait_ms=waited_ms,
        compute_ms=compute_ms,
        codec_ms=(decode_s + finished - resumed) * 1000.0,
        bytes_in=sum(map(len, frame.data)),
        bytes_out=0 if lane.is_joined_here else sum(len(tensor.data) for tensor in encoded),
        energy_j=watts.joules(compute_ms),
        energy_method=watts.method,
        energy_source=watts.source,
    )
    sent = header.model_copy(
        update={
            "kind": "work" if lane.assignment.next_device and passed.exit is None else "answer",
            "exit": passed.exit or "",
            "trace": (*header.trace, trace),
            "budget_ms": max(0.0, budget_ms - (finished - started) * 1000.0),
        }
    )
    if lane.is_joined_here:
        return Done(b"", sent, trace, passed.met, HandedOn.of(sent, encoded))
    return Done(pack_frame(sent, encoded), sent, trace, passed.met)


def _run(lane: Lane, tensors: Mapping[str, Array]) -> Passed:
    exits = lane.assignment.exits
    if not exits:
        return Passed(lane.runner.run(tensors))
    return lane.runner.run_until(tensors, {rule.name: rule.threshold for rule in exits})


def _computed_until(lane: Lane, passed: Passed) -> int:
    """The block after the last one that was computed."""
    here = lane.assignment
    return next((rule.block + 1 for rule in here.exits if rule.name == passed.exit), here.slice.last)


def expiry_s(budget_ms: float) -> int:
    """Message expiry for that budget: whole seconds, rounded up, at least one (0 would mean never)."""
    return max(1, math.ceil(budget_ms / 1000.0))
