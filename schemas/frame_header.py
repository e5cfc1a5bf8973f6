"""What a frame says beside its tensors: whose request it is, how long it may take, what was done for it so far.

`schemas.frame` puts it in front of the tensors' bytes.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Count, Many, Message, Name, NonNegative, Text
from schemas.codec import TensorHeader
from schemas.plan import ROUTE_STAGES

ErrorCode = Literal[
    "expired", "bad-frame", "bad-input", "wrong-generation", "stage-failed", "too-large", "no-plan", "draining"
]


class StageTrace(Message):
    """What one stage did for one request; the receipt is made of these."""

    device: Name
    first: Count
    last: Count
    wait_ms: NonNegative
    compute_ms: NonNegative
    codec_ms: NonNegative
    bytes_in: Count
    bytes_out: Count
    energy_j: NonNegative = 0.0
    energy_method: Literal["measured", "modelled"] = "modelled"
    energy_source: Annotated[str, Field(max_length=128)] = ""


class FrameFault(Message):
    """Why there is no answer; `device` is where it happened."""

    code: ErrorCode
    detail: Text
    device: Annotated[str, Field(max_length=64)] = ""


class FrameHeader(Message):
    """Everything about a frame but the tensors' bytes."""

    version: Literal[1] = 1
    kind: Literal["work", "answer", "error"]
    request: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    submitter: Name
    deployment: Name
    generation: Count
    route: Annotated[int, Field(ge=0, le=1023)] = 0
    attempt: Annotated[int, Field(ge=0, le=10_000)] = 0
    budget_ms: Annotated[float, Field(ge=0, le=1e9)]
    """Time left until the deadline when this frame was sent: relative, so that no two clocks need agree."""
    traceparent: Annotated[str, Field(max_length=64)] = ""
    trace: Annotated[Many[StageTrace], Field(max_length=ROUTE_STAGES)] = ()
    tensors: Annotated[Many[TensorHeader], Field(max_length=64)] = ()
    fault: FrameFault | None = None
    exit: Annotated[str, Field(max_length=64)] = ""
    """Of an answer: the exit that it left by; empty where it went all the way."""
    band: Annotated[int, Field(ge=0, le=31)] = 0
    bands: Annotated[int, Field(ge=0, le=32)] = 0
    """This is band `band` of so many whose rows are joined by the next stage; 0: a frame of its own."""


def remaining_budget_ms(header: FrameHeader, spent_ms: float, expiry_s: int | None = None) -> float:
    """Budget left after `spent_ms` here; never negative.

    `expiry_s` is the MQTT message expiry as received: the broker counts it down while a frame waits there.
    """
    waiting = math.inf if expiry_s is None else expiry_s * 1000.0
    return max(0.0, min(header.budget_ms, waiting) - spent_ms)
