"""One frame through one stage: check, then decode, compute and encode in steps. No bus, no clock but a stopwatch."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from broker.rejections import clipped
from models.rows.specs import band_input, band_output
from models.runtime.passed import Passed
from schemas.codec import Array, TensorHeader, encode_tensor
from schemas.frame import (
    ErrorCode,
    Frame,
    FrameError,
    FrameFault,
    FrameHeader,
    StageTrace,
    encode_frame,
    pack_frame,
    remaining_budget_ms,
)
from schemas.model import ModelCard, TensorSpec
from schemas.plan import ROUTE_STAGES
from services.worker.assignments import Assignment
from services.worker.energy import UNKNOWN, Watts
from services.worker.joining import Joined

_MOST_TOLD: Final = 1000
"""Characters of a reason that a submitter is sent."""


class Runs(Protocol):
    """As much of a stage runner as moving frames needs."""

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """All tensors of the cut before the stage in, all tensors of the cut behind it out."""

    def run_until(self, tensors: Mapping[str, Array], thresholds: Mapping[str, float]) -> Passed:
        """As `run`, unless an exit is confident enough: then the model's answer."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A stage that can compute: what it takes, what it gives, and where that goes."""

    device: str
    assignment: Assignment
    takes: tuple[TensorSpec, ...]
    gives: tuple[TensorSpec, ...]
    runner: Runs
    parts: tuple[TensorSpec, ...] = ()
    """What each of the bands before it gives, where there are any; joined they are what it takes."""
    answer: tuple[TensorSpec, ...] = ()
    """What a request that leaves at an exit is answered with."""

    @classmethod
    def of(cls, device: str, assignment: Assignment, card: ModelCard, runner: Runs) -> Lane:
        """The lane of one assignment, with the tensors that the card's cuts say.

        Raises:
            models.rows.chain.RowsError: the model has no such rows there.
        """
        first, last, rows = assignment.slice.first, assignment.slice.last, assignment.slice.rows
        if rows:
            takes, gives = band_input(card, rows.takes), band_output(card, last, rows.gives)
            return cls(device, assignment, (takes,), (gives,), runner)
        gives_all = card.cuts[last].tensors if last < len(card.blocks) else card.outputs
        takes_all = card.cuts[first].tensors if first else card.inputs
        parts = tuple(band_output(card, first, given) for given in assignment.joins)
        return cls(device, assignment, takes_all, gives_all, runner, parts, card.outputs)


class RefusedError(Exception):
    """A frame that this stage does not answer with tensors; `code` and the message go to the submitter."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code: ErrorCode = code


@dataclass(frozen=True, slots=True)
class Done:
    """A result, ready to be sent."""

    payload: bytes
    header: FrameHeader
    trace: StageTrace
    met: tuple[str, ...] = ()
    """Exits that were evaluated; the header says which of them was taken, if any."""


def check(lane: Lane, header: FrameHeader) -> None:
    """Everything that can be checked without touching tensor data; cheap enough for the event loop.

    Raises:
        RefusedError: not for this stage, or not what it takes (says what was expected and what came).
    """
    here = lane.assignment
    if header.kind != "work":
        raise RefusedError("bad-frame", f"a frame of kind {header.kind!r} came to a stage, which takes 'work'")
    if (header.deployment, header.generation) != (here.key.deployment, here.key.generation):
        raise RefusedError(
            "wrong-generation",
            f"frame of {header.deployment} generation {header.generation} came to stage {here.key}: "
            "submit it again on the current plan",
        )
    if header.route != here.route:
        raise RefusedError("bad-frame", f"frame of route {header.route} came to stage {here.key}")
    if len(header.trace) >= ROUTE_STAGES:
        raise RefusedError("bad-frame", f"the frame's trace has {len(header.trace)} stages: no room for {here.key}")
    takes = _takes(lane, header)
    given = {tensor.name: (tensor.dtype, tensor.shape) for tensor in header.tensors}
    if given != {spec.name: (spec.dtype, spec.shape) for spec in takes}:
        expected = ", ".join(map(str, takes))
        came = ", ".join(map(_describe, header.tensors)) or "no tensor"
        raise RefusedError(
            "bad-frame" if here.slice.first else "bad-input", f"stage {here.key} takes {expected}; given: {came}"
        )


def _takes(lane: Lane, header: FrameHeader) -> tuple[TensorSpec, ...]:
    """What this frame must hold: where bands are joined, that depends on which of them it is.

    Raises:
        RefusedError: it is another band than comes here, or none where one is awaited.
    """
    here = lane.assignment
    band = f"a frame that says it is band {header.band} of {header.bands}" if header.bands else "a whole frame"
    if not lane.parts:
        if (header.band, header.bands) != (here.band, here.bands):
            awaits = f"takes band {here.band} of {here.bands}" if here.bands else "takes whole frames"
            raise RefusedError("bad-frame", f"{band} came to {here.key}, which {awaits}")
        return lane.takes
    if header.bands != len(lane.parts) or header.band >= header.bands:
        raise RefusedError("bad-frame", f"{band} came to {here.key}, which joins {len(lane.parts)} bands")
    if len(header.trace) > 1:
        raise RefusedError("bad-frame", f"{band} came to {here.key} after {len(header.trace)} stages, not one band")
    return (lane.parts[header.band],)


def process(
    lane: Lane, frame: Frame | Joined, waited_ms: float, expiry_s: int | None, watts: Watts
) -> Generator[None, None, Done]:
    """Decode, run, encode, with a pause after the first two; belongs in the compute thread.

    Args:
        lane: the stage.
        frame: checked by `check`.
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
        bytes_out=sum(len(tensor.data) for tensor in encoded),
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


def fault_payload(device: str, header: FrameHeader, refused: RefusedError) -> bytes:
    """The frame that tells a submitter why there is no answer."""
    # A model's code may have put anything into its message; what is no text cannot be sent.
    detail = str(refused).encode("utf-8", "replace").decode("utf-8")
    fault = FrameFault(code=refused.code, detail=clipped(detail, _MOST_TOLD), device=device)
    return encode_frame(header.model_copy(update={"kind": "error", "fault": fault}))


def expiry_s(budget_ms: float) -> int:
    """Message expiry for that budget: whole seconds, rounded up, at least one (0 would mean never)."""
    return max(1, math.ceil(budget_ms / 1000.0))


def _describe(tensor: TensorHeader) -> str:
    return f"{tensor.name} {tensor.dtype}[{'x'.join(map(str, tensor.shape))}]"
