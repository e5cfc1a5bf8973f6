"""What a submitter sees of each route, told to the planner about once a second while there are requests.

Only the submitter knows how long a route takes from end to end. Telling is a favour and no duty: where it may not, or
the broker is away, that is counted and said once, and no request waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping
from statistics import fmean, median
from typing import Final

from broker.bus import Bus
from broker.errors import BusError
from schemas.accuracy import RouteSeen, Seen
from schemas.topics import SEEN
from stageline.requests_in_flight import RequestsInFlight
from stageline.under_way import Waits

_LOG = logging.getLogger(__name__)
_PERIOD_S: Final = 1.0
_PATIENCE_S: Final = 5.0
_MOST_KEPT: Final = 10_000
"""Latencies of one route and period that the median is taken from."""


class Sightings:
    """Latencies over the routes of one generation since the last report. Pure."""

    def __init__(self) -> None:
        self._generation = 0
        self._answers: Counter[int] = Counter()
        self._latencies_s: defaultdict[int, list[float]] = defaultdict(list)
        self._left: set[int] = set()
        """Routes on which some left early."""

    def answered(self, generation: int, route: int, seconds: float, *, early: bool = False) -> None:
        """One answer, so long after it was sent. What came over an older generation than the latest is left out.

        `early`: it left at an exit.
        """
        if generation < self._generation:
            return
        if generation > self._generation:
            self._begin(generation)
        self._answers[route] += 1
        if early:
            self._left.add(route)
        if len(self._latencies_s[route]) < _MOST_KEPT:
            self._latencies_s[route].append(seconds)

    def take(self, generation: int, waits: Mapping[int, Waits]) -> tuple[RouteSeen, ...]:
        """Each route of the generation that is served with answers or requests under way; collecting starts anew."""
        if generation != self._generation:
            self._begin(generation)
        seen = tuple(
            RouteSeen(
                route=route,
                answers=self._answers[route],
                latency_ms=self._usual_s(route) * 1000,
                waiting=waits[route].requests if route in waits else 0,
                silent_s=waits[route].oldest_s if route in waits else 0.0,
            )
            for route in sorted({*self._answers, *waits})
        )
        self._begin(generation)
        return seen

    def _usual_s(self, route: int) -> float:
        """The median; the mean where some left early, as predictions have it: a median would tell of one kind only."""
        if not self._answers[route]:
            return 0.0
        return (fmean if route in self._left else median)(self._latencies_s[route])

    def _begin(self, generation: int) -> None:
        self._generation = generation
        self._left.clear()
        self._answers.clear()
        self._latencies_s.clear()


class Teller:
    """Publishes what one submitter sees of one deployment; `run` it beside the requests."""

    def __init__(self, bus: Bus, deployment: str, submitter: str, flight: RequestsInFlight) -> None:
        self.untold: Counter[str] = Counter()
        """Reports that reached nobody, by the name of the error."""
        self.sightings = Sightings()
        self._bus = bus
        self._deployment = deployment
        self._submitter = submitter
        self._flight = flight
        self._busy = asyncio.Event()

    def wake(self) -> None:
        """There is a request."""
        self._busy.set()

    async def run(self) -> None:
        """Tell until cancelled; silent while nothing is open and the last that was has been told."""
        loop = asyncio.get_running_loop()
        while True:
            await self._busy.wait()
            self._busy.clear()
            since = loop.time()
            await asyncio.sleep(_PERIOD_S)
            now = loop.time()
            if self._flight.audit.open:
                self._busy.set()
            if (plan := self._flight.board.plan) is not None:
                routes = self.sightings.take(plan.generation, self._flight.waits(now))
                await self._tell(plan.generation, now - since, routes)

    async def _tell(self, generation: int, period_s: float, routes: tuple[RouteSeen, ...]) -> None:
        seen = Seen(
            submitter=self._submitter,
            deployment=self._deployment,
            generation=generation,
            period_s=period_s,
            routes=routes,
        )
        try:
            await self._bus.publish(
                SEEN, seen, timeout_s=_PATIENCE_S, deployment=self._deployment, submitter=self._submitter
            )
        except BusError as error:
            reason = type(error).__name__
            if not self.untold[reason]:
                _LOG.info("the planner is not told what routes do, which delays no request: %s", error)
            self.untold[reason] += 1
