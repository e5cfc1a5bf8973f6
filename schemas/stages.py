"""What a worker holds and how fast it is: the planner's evidence that a plan is ready and true."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from schemas.base import BootId, Count, Many, Message, Name, NonNegative, Sha256, Text, left_out_at

StageId = Annotated[str, Field(pattern=r"^r[0-9]{1,4}[sb][0-9]{1,4}$")]
"""Route and place in it: `r0s2` is the third stage of the first route, `r0b1` the second of its bands."""

DEVICE_STAGES_MOST: Final = 256
"""Of all deployments and generations, on one device."""

StageState = Literal["loading", "ready", "draining", "failed"]


class HeldStage(Message):
    """One stage on one worker."""

    deployment: Name
    generation: Count
    stage: StageId
    model: Name
    card_sha: Sha256
    first: Count
    last: Count
    variant: Annotated[Text, left_out_at("")] = ""
    """Stages of the same blocks share their memory if this is the same, too: some rows, or some exits open."""
    state: StageState
    progress: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the missing weight bytes fetched so far."""
    memory_bytes: Count = 0
    error: Text = ""


class StagesHeld(Message):
    """Everything a worker holds. Also its last will, with `online=False` and no stages."""

    device: Name
    boot_id: BootId
    online: bool
    backend: Literal["onnxruntime", "torch"] = "onnxruntime"
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    memory_budget_bytes: Count = 0
    """What the worker will give to stages in all (weights and activations)."""
    max_packet_bytes: Count = 0
    stages: Annotated[Many[HeldStage], Field(max_length=DEVICE_STAGES_MOST)] = ()
    reason: Text = ""


class ExitSeen(Message):
    """One exit over the last reporting period: requests that met it, and those of them that left."""

    name: Name
    met: Count
    left: Count


class StageTiming(Message):
    """One stage over the last reporting period; times are medians, ms; of a stage with open exits, means."""

    deployment: Name
    generation: Count
    stage: StageId
    frames: Count
    wait_ms: NonNegative
    compute_ms: NonNegative
    codec_ms: NonNegative
    bytes_in: Count
    bytes_out: Count
    exits: Annotated[Many[ExitSeen], Field(max_length=64), left_out_at(())] = ()


class Timing(Message):
    """Rolling stage times, queue depth, what was refused. Every period, at rest too: it is the worker's heartbeat."""

    device: Name
    boot_id: BootId
    period_s: NonNegative
    queue_depth: Count
    cpu_s: NonNegative = 0.0
    """Processor time that the worker used in the period, all threads: the rest of the device's load is others'."""
    stuck_s: NonNegative = 0.0
    """How long the compute thread has been at its present step; 0 when it waits for work."""
    stages: Annotated[Many[StageTiming], Field(max_length=DEVICE_STAGES_MOST)] = ()
    rejected: dict[Annotated[str, Field(max_length=64)], Count] = Field(default_factory=dict)
