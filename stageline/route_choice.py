"""Which route the next request takes: weighted turns among the routes that can take it now. Pure.

Where the plan says `in_turn` weights are kept to even when that means waiting for a route that is full.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from schemas.parts import parts_of
from schemas.plan import Plan, Route, StagePrediction
from schemas.stages import StagesHeld
from stageline.latency import Latency
from stageline.turns import Turns

RouteState = Literal["up", "unready", "down"]

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 8.0
_QUEUE_SLACK: Final = 2.0
"""A route may be this much slower than predicted before those who wait in its line are thought lost."""


@dataclass(slots=True)
class _Line:
    latency: Latency
    """Of every answer, wherever it left,"""
    through: Latency
    """and of those that left by no exit: easy inputs do not teach how long to wait for a hard one."""
    window: int
    each_s: float
    """Predicted time from one answer to the next, flat out."""
    state: RouteState = "up"
    busy: int = 0
    silences: int = 0
    """Timeouts and unheard sends since its last sign of life: while there are any it gets one probe at a time."""
    rest_until: float = 0.0


class RouteBoard:
    """The routes of one plan as a submitter sees them: windows, signs of life, and whose turn it is."""

    def __init__(self, plan: Plan | None) -> None:
        self.plan = plan
        routes = plan.routes if plan is not None else ()
        self._turns = Turns([route.weight for route in routes])
        self._lines = [
            _Line(
                Latency(route.predicted.latency_ms / 1000 if route.predicted else None),
                Latency(_through_s(route, plan)),
                route.window,
                1 / route.predicted.throughput_rps if route.predicted and route.predicted.throughput_rps else 0.0,
            )
            for route in routes
            if plan is not None
        ]

    @property
    def window(self) -> int:
        """Requests that may be under way at once, over all routes."""
        return sum(line.window for line in self._lines)

    def busy(self, route: int) -> int:
        """Requests under way on this route."""
        return self._lines[route].busy

    def take(self, now: float, avoid: Collection[int] = ()) -> int | None:
        """Occupy a place on the route whose turn it is, one not in `avoid` where possible; None when all are full."""
        eligible = self._eligible(now)
        if self.plan is not None and self.plan.in_turn:
            # Whoever has no room now keeps its turn, and all wait for it.
            sound = self._eligible(now, full_too=True)
            wanted = [route for route in sound if route not in avoid] or sound
            route = self._turns.take(wanted) if self._turns.whose(wanted) in eligible else None
        else:
            route = self._turns.take([route for route in eligible if route not in avoid] or eligible)
        if route is not None:
            self._lines[route].busy += 1
        return route

    def release(self, route: int) -> None:
        """A place on this route is free again."""
        self._lines[route].busy -= 1

    def sign_of_life(
        self, route: int, seconds: float | None = None, *, whole: bool = True, early: bool = False
    ) -> None:
        """Something came back over it; `seconds` is the request's latency when it was an answer.

        What came from before the route's last stage (not `whole`) says nothing of those that were not heard of because
        of what lies behind. What left by an exit (`early`) says nothing of how long those take that do not.
        """
        line = self._lines[route]
        if whole:
            line.silences, line.rest_until = 0, 0.0
        if seconds is not None:
            line.latency.observe(seconds)
            if not early:
                line.through.observe(seconds)

    def silence(self, route: int, now: float, *, heard: bool) -> None:
        """No answer in time, or nobody listening (`heard` is False): it rests, longer each time, while others serve.

        Requests that were under way together fall silent together: that counts once.
        """
        line = self._lines[route]
        if line.rest_until > now:
            return
        line.silences += 1
        others = any(one.state == "up" and not one.silences for one in self._lines)
        if others or not heard:
            first_s, longest_s = (20 * _FIRST_PAUSE_S, _LONGEST_PAUSE_S) if heard else (_FIRST_PAUSE_S, 1.0)
            line.rest_until = now + min(first_s * 2 ** min(line.silences - 1, 10), longest_s)

    def usual_s(self, route: int) -> float:
        """By when nearly every answer over this route is there, seconds; 0 when nothing is known.

        Whoever comes last has to wait for all who are under way already, whatever the first few answers took.
        """
        line = self._lines[route]
        return max(line.latency.usual_s, line.through.usual_s, _QUEUE_SLACK * line.busy * line.each_s)

    def soonest_s(self, now: float) -> float | None:
        """How soon an answer may be expected from one of the routes that can take a request now, seconds.

        0 when nothing is under way over one of them: somebody must find out. None when none of them can take any.
        """
        lines = [self._lines[route] for route in self._eligible(now)]
        return min((line.latency.mean_s if line.busy else 0.0 for line in lines), default=None)

    def see(self, held: Mapping[str, StagesHeld]) -> None:
        """Take in what the workers say they hold; a route that comes up starts with a clean sheet."""
        for index, line in enumerate(self._lines):
            state = _state(self.plan, index, held) if self.plan is not None else "down"
            if state == "up" and line.state != "up":
                line.silences, line.rest_until = 0, 0.0
            line.state = state

    def why_not(self) -> str:
        """Why nothing can be taken, in words."""
        if any(line.state == "up" for line in self._lines):
            return "every route was full or resting"
        return "no route has all its stages ready"

    def next_change(self, now: float) -> list[float]:
        """When resting routes may be tried again."""
        return [line.rest_until for line in self._lines if line.rest_until > now]

    def _eligible(self, now: float, *, full_too: bool = False) -> list[int]:
        sound = any(line.state == "up" and not line.silences for line in self._lines)
        return [
            index
            for index, line in enumerate(self._lines)
            if line.state == "up"
            and line.rest_until <= now
            and ((full_too and not line.silences) or line.busy < (1 if line.silences and sound else line.window))
        ]


def _through_s(route: Route, plan: Plan) -> float | None:
    """Predicted latency of a request that leaves by no exit; None where nothing was predicted.

    What is predicted of a route is of the mean request; of a stage, of those that come to it.
    """
    if route.predicted is None:
        return None
    mean_s = route.predicted.latency_ms / 1000
    if not plan.exits:
        return mean_s
    bands = route.side_by_side.predictions if route.side_by_side is not None else ()
    through_ms = max(map(_stage_ms, bands), default=0.0) + sum(map(_stage_ms, route.stage_predictions))
    return max(mean_s, through_ms / 1000)


def _stage_ms(stage: StagePrediction) -> float:
    return stage.down_ms + stage.compute_ms + stage.frame_ms + stage.up_ms


def _state(plan: Plan, index: int, held: Mapping[str, StagesHeld]) -> RouteState:
    """What is known of a route: a device offline, a stage not (or no longer) ready, or nothing against it.

    A device that nobody has heard of counts as up: the planner named it, and silence is caught by the resend timer.
    """
    state: RouteState = "up"
    for part in parts_of(plan.routes[index], index):
        worker = held.get(part.device)
        if worker is None:
            continue
        if not worker.online:
            return "down"
        if not any(
            (one.deployment, one.generation, one.stage) == (plan.deployment, plan.generation, part.stage)
            and one.state in ("ready", "draining")
            for one in worker.stages
        ):
            state = "unready"
    return state
