"""What people ask for (a deployment), and what the planner answers (a decision, with its reasons)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.base import Count, Fraction, Many, Message, Name, NonNegative, Text, left_out_at
from schemas.plan import CodecName, Objective, Prediction


class Pin(Message):
    """Blocks `[first, last)` must run on `device` (e.g. raw pixels never leave the camera)."""

    device: Name
    first: Count
    last: Count

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.first >= self.last:
            raise ValueError(f"pin [{self.first}:{self.last}) on {self.device} names no block")
        return self


class Deployment(Message):
    """A model to be served and how to choose between plans. Retained: the planner keeps it true."""

    deployment: Name
    model: Name
    objective: Objective = "latency"
    latency_weight: Fraction = 0.5
    """The w of `cost(w) = w * latency_s + (1 - w) * energy_j`; only for objective `cost`."""
    latency_bound_ms: Annotated[float, Field(gt=0)] | None = None
    """With objective `throughput`: no route may be predicted slower than this. With `latency` and a model that has
    operating points: the most accurate of them whose best plan keeps it.
    """
    pins: Many[Pin] = ()
    exclude: Many[Name] = ()
    memory_limit_bytes: dict[Name, Count] = Field(default_factory=dict)
    """Per device, less than what its worker offers."""
    codec: CodecName = "fp32"
    """For activations between stages; input and answers always go as they are."""
    policy: Name = "exact"
    thresholds: Annotated[dict[Name, Fraction], left_out_at({})] = Field(default_factory=dict)
    """By exit: instead of the calibrated one."""
    closed_exits: Annotated[Many[Name], left_out_at(())] = ()
    """Exits of the model that must not be used."""
    accuracy_min: Annotated[Fraction | None, left_out_at(None)] = None
    """Thresholds are chosen so that validation data says at least this; not together with `thresholds`."""
    side_by_side: Annotated[bool, left_out_at(True)] = True
    """Whether several devices may share the rows of the first blocks."""
    weight: Annotated[float, Field(ge=0.01, le=100, allow_inf_nan=False)] = 1.0
    """Its share of the devices' time and memory, relative to other deployments that use them."""
    requested: NonNegative = 0.0
    """Unix time of the request: asking again with the same wish still makes a new plan."""

    @model_validator(mode="after")
    def _one_way_to_thresholds(self) -> Self:
        if self.accuracy_min is not None and self.thresholds:
            raise ValueError("thresholds are given or chosen for an accuracy: leave out thresholds or accuracy_min")
        both = sorted(self.thresholds.keys() & set(self.closed_exits))
        if both:
            raise ValueError(f"exit {both[0]} has a threshold and is closed: leave one of them out")
        return self


Term = Literal["compute", "link", "memory", "pins", "none"]


class Alternative(Message):
    """A plan that was considered and what it would have given."""

    label: Text
    plan: Text
    feasible: bool
    predicted: Prediction | None = None
    reason: Text


class Decision(Message):
    """Why the plan is as it is; retained beside it. `error` is set when there is no plan."""

    deployment: Name
    generation: Count
    """Of the plan this decision led to; 0 with `error`."""
    beside: Count = 0
    """Generation of a good plan for the same request that serves while this one is prepared; 0: there is none."""
    requested: NonNegative
    state: Literal["profiling", "preparing", "serving", "failed", "removed"]
    plan: Text = ""
    predicted: Prediction | None = None
    bound_rps: NonNegative | None = None
    """For throughput: requests per second if all devices computed all the time and links were free."""
    alternatives: Many[Alternative] = ()
    decided_by: Term = "none"
    explanation: Text = ""
    cause: Text = ""
    """Why it was decided now: asked for, a device lost or joined, or what has drifted since the plan before."""
    planning_ms: NonNegative = 0.0
    error: Text = ""


class HubStatus(Message):
    """The planner's own birth and last will."""

    online: bool
    boot_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    version: Text = ""
    rejected: dict[Annotated[str, Field(max_length=64)], Count] = Field(default_factory=dict)
    """What it could not use of what came, by reason, since it started."""
