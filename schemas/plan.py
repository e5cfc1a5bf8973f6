"""Plans: which blocks of a model run where, printed the way people write them.

A route prints as `r0: pi4[0:12) -u8-> nano[12:19)` and parses back (`schemas.plan_text.parse_route`). Where several
devices share the rows of the first blocks it prints as

    r0: (pi4 rows 0:9 from 0:23 + nano rows 9:14 from 13:32)[0:12) -> nano[12:19)

so pi4 gives rows 0 to 8 of what crosses the cut before block 12, and is sent rows 0 to 22 of the input for that.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from schemas.base import Count, Fraction, Many, Message, Name, NonNegative, Sha256, left_out_at

CodecName = Literal["fp32", "fp16", "u8", "fp32+zstd", "fp16+zstd", "u8+zstd"]
"""How float tensors cross one cut; `fp32` leaves them as they are. Other element types are never changed."""

Objective = Literal["latency", "throughput", "energy", "cost"]


PLAN_ROUTES: Final = 1024
"""Routes of one plan at most."""
ROUTE_STAGES: Final = 64
"""Stages of one route at most: each leaves a trace in the header of the frame."""


def arrow(codec: CodecName) -> str:
    """`->` for tensors as they are, `-u8->` for a codec."""
    return "->" if codec == "fp32" else f"-{codec}->"


class Stage(Message):
    """Blocks `[first, last)` on one device; `codec` is for what it sends on."""

    device: Name
    first: Count
    last: Count
    codec: CodecName = "fp32"

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.first >= self.last:
            raise ValueError(f"stage [{self.first}:{self.last}) on {self.device} holds no block")
        return self

    def __str__(self) -> str:
        return f"{self.device}[{self.first}:{self.last})"


class Prediction(Message):
    """What the cost model expects: one request's latency, requests per second, joules per request."""

    latency_ms: NonNegative
    throughput_rps: NonNegative
    energy_j: NonNegative
    energy_method: Literal["measured", "modelled"] = "modelled"


class StagePrediction(Message):
    """Expected times of one stage, ms, for a request that finds its device idle."""

    down_ms: NonNegative
    """Receiving its input."""
    compute_ms: NonNegative
    """Computing, codecs included: what receipts and timings measure."""
    frame_ms: NonNegative = 0.0
    """Handling the frames."""
    up_ms: NonNegative
    """Sending its output."""


RowRange = tuple[Count, Count]
"""Rows `[first, last)` of a picture or feature map."""


class Band(Message):
    """A share of the rows on one device: it is given `takes`, halo included, and gives `gives`."""

    device: Name
    takes: RowRange
    """Of the model's input."""
    gives: RowRange
    """Of the tensor that crosses the cut after the bands."""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        for first, last in (self.takes, self.gives):
            if first >= last:
                raise ValueError(f"the band on {self.device} has no rows [{first}:{last})")
        return self

    def __str__(self) -> str:
        return f"{self.device} rows {self.gives[0]}:{self.gives[1]} from {self.takes[0]}:{self.takes[1]}"


class SideBySide(Message):
    """Blocks `[0, last)` computed by several devices at once, a band of rows each (DeepThings' fused tiles).

    The submitter sends each band its rows of the input; the stage behind joins what they give, top to bottom.
    """

    last: Annotated[int, Field(ge=1)]
    bands: Annotated[Many[Band], Field(min_length=2, max_length=32)]
    codec: CodecName = "fp32"
    """For what the bands send on."""
    predictions: Many[StagePrediction] = ()
    """One per band; they run at the same time, so the slowest counts."""

    @model_validator(mode="after")
    def _contiguous(self) -> Self:
        if self.predictions and len(self.predictions) != len(self.bands):
            raise ValueError("one prediction per band, or none")
        end = 0
        for band in self.bands:
            if band.gives[0] != end:
                raise ValueError(f"the band on {band.device} starts at row {band.gives[0]}, not {end}")
            end = band.gives[1]
        return self

    def __str__(self) -> str:
        return f"({' + '.join(map(str, self.bands))})[0:{self.last})"


class Route(Message):
    """A sequence of stages that takes a request from input to answer."""

    side_by_side: Annotated[SideBySide | None, left_out_at(None)] = None
    """What is computed before the first stage, by several devices at once."""
    stages: Annotated[Many[Stage], Field(min_length=1, max_length=ROUTE_STAGES)]
    weight: Fraction = 1.0
    """Share of the requests that this route should get."""
    window: Annotated[int, Field(ge=1, le=1024)] = 2
    """Requests in flight on this route at most."""
    together: Annotated[int, Field(ge=1, le=16)] = 1
    """Frames that each of its stages may take up and hand on at once: cheaper for each, and the first of them waits."""
    predicted: Prediction | None = None
    stage_predictions: Many[StagePrediction] = ()

    @model_validator(mode="after")
    def _contiguous(self) -> Self:
        start = self.side_by_side.last if self.side_by_side else 0
        if self.stages[0].first != start:
            raise ValueError(f"the first stage starts at block {self.stages[0].first}, not {start}")
        for before, after in pairwise(self.stages):
            if before.last != after.first:
                raise ValueError(f"{after} does not start where {before} ends")
        if self.stages[-1].codec != "fp32":
            raise ValueError(f"{self.stages[-1]} sends the answer, which goes as it is: codec fp32")
        if self.stage_predictions and len(self.stage_predictions) != len(self.stages):
            raise ValueError("one stage prediction per stage, or none")
        if self.side_by_side and len(self.side_by_side.bands) + len(self.stages) > ROUTE_STAGES:
            raise ValueError(f"bands and stages together are more than {ROUTE_STAGES}")
        return self

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices in the order a request visits them; one with a band and a stage is named once."""
        stages = tuple(stage.device for stage in self.stages)
        if self.side_by_side is None:
            return stages
        return tuple(dict.fromkeys((*(band.device for band in self.side_by_side.bands), *stages)))

    def __str__(self) -> str:
        text = str(self.stages[0])
        if self.side_by_side is not None:
            text = f"{self.side_by_side} {arrow(self.side_by_side.codec)} {text}"
        for before, after in pairwise(self.stages):
            text += f" {arrow(before.codec)} {after}"
        return text


class ExitRule(Message):
    """An exit that is open: after `block`, what is confident enough is answered and goes no further."""

    name: Name
    block: Count
    threshold: Fraction
    """A request whose largest softmax probability is at least this leaves here."""
    share: Fraction = 0.0
    """Of all requests, those that are expected to."""


class Plan(Message):
    """All routes of one deployment in one generation. Immutable: a change is a new generation."""

    version: Literal[1] = 1
    deployment: Name
    generation: Annotated[int, Field(ge=1, le=2**53)]
    model: Name
    card_sha: Sha256
    objective: Objective
    policy: Name
    input_codec: CodecName = "fp32"
    weight: Annotated[float, Field(ge=0.01, le=100, allow_inf_nan=False)] = 1.0
    """Of its deployment: a device that serves several gives each its share of the time."""
    in_turn: bool = False
    """Requests keep to the routes' weights, even if that means waiting; otherwise one with room is taken."""
    routes: Annotated[Many[Route], Field(min_length=1, max_length=PLAN_ROUTES)]
    predicted: Prediction | None = None
    exits: Annotated[Many[ExitRule], Field(max_length=64), left_out_at(())] = ()
    """In the order in which a request meets them. Exits of the model that are not named are not computed."""

    @model_validator(mode="after")
    def _exits_in_order(self) -> Self:
        if any(one.block >= after.block for one, after in pairwise(self.exits)):
            raise ValueError("exits are named in the order in which a request meets them")
        if len({one.name for one in self.exits}) < len(self.exits):
            raise ValueError("two exits have the same name")
        first = max(route.side_by_side.last if route.side_by_side else 0 for route in self.routes)
        last = min(route.stages[-1].last for route in self.routes) - 1
        for rule in self.exits:
            if not first <= rule.block < last:
                raise ValueError(
                    f"exit {rule.name} after block {rule.block}, not of [{first}:{last}): exits are behind what is "
                    "side by side and before the last block"
                )
        return self

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device with a stage or band, each once, in order of first appearance."""
        return tuple(dict.fromkeys(device for route in self.routes for device in route.devices))

    def __str__(self) -> str:
        return " | ".join(f"r{i}: {route}" for i, route in enumerate(self.routes))
