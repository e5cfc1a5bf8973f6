"""Is what was predicted true? What submitters see of each route, and the planner's comparison of it with its plan."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from schemas.base import Count, Many, Message, Name, NonNegative
from schemas.plan import PLAN_ROUTES
from schemas.stages import StageId

SEEN_WITHIN_S: Final = 3.0
"""What a submitter told longer ago says nothing of now."""


class RouteSeen(Message):
    """One route as one submitter saw it over a period."""

    route: Annotated[int, Field(ge=0, lt=PLAN_ROUTES)]
    answers: Count
    latency_ms: NonNegative
    """Median, sent to answered; the mean where some left at exits; 0 when there was no answer."""
    waiting: Count = 0
    """Requests under way now."""
    silent_s: NonNegative = 0.0
    """How long the oldest of those has gone unanswered."""


class Seen(Message):
    """What one submitter saw of one deployment over the last period; about once a second while it has requests."""

    submitter: Name
    deployment: Name
    generation: Count
    period_s: NonNegative
    routes: Annotated[Many[RouteSeen], Field(max_length=PLAN_ROUTES)] = ()


class Compared(Message):
    """One figure as predicted and as measured (a moving average)."""

    predicted: NonNegative
    measured: NonNegative
    samples: Count


class StageAccuracy(Message):
    """One stage's time for a frame (computing and codecs), ms."""

    stage: StageId
    device: Name
    compute_ms: Compared


class RouteAccuracy(Message):
    """One route's latency as submitters see it, ms, and its requests per second over all of them."""

    route: Annotated[int, Field(ge=0, lt=PLAN_ROUTES)]
    latency_ms: Compared
    throughput_rps: Compared


class Accuracy(Message):
    """How true a served plan's predictions are; retained beside it, rewritten at most about once a second."""

    deployment: Name
    generation: Count
    stages: Many[StageAccuracy] = ()
    routes: Annotated[Many[RouteAccuracy], Field(max_length=PLAN_ROUTES)] = ()
    error: NonNegative = 0.0
    """Running mean of |measured / predicted - 1| over stages, weighted by frames."""
