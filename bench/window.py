"""Which stretch of a flat-out run counts, and what rate it shows. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from schemas.plan import Plan

LEAST_SETTLE_S: Final = 1.0
MOST_SETTLE_S: Final = 8.0
_FILLINGS: Final = 1.25


@dataclass(frozen=True, slots=True)
class Window:
    """`[begin, end)` on any clock, seconds."""

    begin: float
    end: float

    def holds(self, moment: float) -> bool:
        """Whether something that happened then counts."""
        return self.begin <= moment < self.end


class NothingAnsweredError(RuntimeError):
    """No answer came in the stretch that counts; the message says what to do."""

    def __init__(self, window: Window) -> None:
        super().__init__(
            f"no two answers around the {window.end - window.begin:g} s that count: measure for longer, or look at the "
            "devices' logs"
        )


def steady_rps(arrivals: Sequence[float], window: Window) -> float:
    """Answers per second of a window, counted between answers and not between the window's ends.

    That takes the chance out of where the ends fall: with ten answers in a window it would be up to ten percent.
    Answers come in bursts where frames are handled together, so a stretch must begin and end at the same place of a
    burst: counted to the first answer of the next one, with two bursts of six in a window a quarter would be missing.
    Two such stretches are added up: from the last answer before the window to the last one in it, and from the first
    one in it to the first one after it. So a pause at either end counts, too.

    Args:
        arrivals: when answers came, in any order.
        window: the stretch of steady state.

    Raises:
        NothingAnsweredError: fewer than two answers, so there is no rate.
    """
    times = sorted(arrivals)
    begin, end = bisect_left(times, window.begin), bisect_left(times, window.end)
    before, after = max(0, begin - 1), min(end, len(times) - 1)
    stretches = [(before, end - 1), (begin, after)] if end > begin else [(before, after)]
    took_s = sum(times[last] - times[first] for first, last in stretches) if times else 0.0
    if took_s <= 0:
        raise NothingAnsweredError(window)
    return sum(last - first for first, last in stretches) / took_s


def settle_s(plan: Plan) -> float:
    """How long to submit before the clock starts: until every route's window has been filled and answered once.

    A full window leaves its route in window / rate seconds (Little's law); a quarter more for what varies.
    """
    fills = [
        route.window / route.predicted.throughput_rps
        for route in plan.routes
        if route.predicted and route.predicted.throughput_rps > 0
    ]
    return min(MOST_SETTLE_S, max(LEAST_SETTLE_S, _FILLINGS * max(fills, default=0.0)))
