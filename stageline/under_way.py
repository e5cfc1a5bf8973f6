"""Attempts that hold a place in their route's window: those whose answer is waited for, and those given up meanwhile.

Whoever gives up early keeps its place while somebody may still work on it: else it would fill the line without end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from schemas.plan import Plan
from schemas.stages import StagesHeld
from stageline.open_request import OpenRequest, Sent
from stageline.patience import Patience
from stageline.route_choice import RouteBoard


@dataclass(frozen=True, slots=True)
class Waits:
    """Requests under way over one route, and for how long the oldest of them."""

    requests: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class _Owed:
    """An attempt whose request has its result already, while somebody may still work on it."""

    attempt: int
    sent: Sent


class UnderWay:
    """What is on the routes of the plan that is served, and what is left of the plan before it. Pure."""

    def __init__(self, patience: Patience) -> None:
        self.board = RouteBoard(None)
        self._patience = patience
        self._requests: dict[str, OpenRequest] = {}
        self._owed: dict[str, _Owed] = {}
        self._superseded_at = 0.0

    def follow(self, plan: Plan | None, held: Mapping[str, StagesHeld], *, now: float) -> None:
        """Another plan is served, or none."""
        self.board = RouteBoard(plan)
        self.board.see(held)
        self._owed.clear()
        self._superseded_at = now

    def is_current(self, sent: Sent) -> bool:
        """Whether it went over the plan that is served."""
        return sent.plan is self.board.plan

    # --- what is waited for ------------------------------------------------------------------------------------------
    def begin(self, one: OpenRequest, plan: Plan, route: int, now: float) -> None:
        """It goes, over a place that the board has given it."""
        usual_s = self.board.usual_s(route)
        patience_s = max(self._patience.floor_s, usual_s) * 2 ** min(one.timeouts, 3)
        one.attempts.append(Sent(plan, route, now, usual_s, patience_s))
        one.under_way = True
        self._requests[one.name] = one

    def end(self, one: OpenRequest) -> None:
        """Its latest attempt is not waited for any more, if it was."""
        if one.under_way:
            sent = one.attempts[-1]
            if self.is_current(sent):
                self.board.release(sent.route)
            self._forget(one)

    def find(self, request: str, attempt: int) -> OpenRequest | None:
        """The request whose answer to this very attempt is waited for."""
        one = self._requests.get(request)
        return one if one is not None and attempt == len(one.attempts) - 1 else None

    def over(self, device: str) -> list[OpenRequest]:
        """Those whose routes lead over a device."""
        return [one for one in self._requests.values() if one.attempts[-1].passes(device)]

    def overdue(self, now: float) -> list[OpenRequest]:
        """Those whose answer should have been there."""
        return [one for one in self._requests.values() if now >= self._patient_until(one.attempts[-1])]

    def waits(self, now: float) -> dict[int, Waits]:
        """What is under way over each route of the plan that is served, where anything is; given up or not."""
        sent_at: dict[int, list[float]] = {}
        under_way = [one.attempts[-1] for one in self._requests.values()]
        for sent in (*under_way, *(owed.sent for owed in self._owed.values())):
            if self.is_current(sent):
                sent_at.setdefault(sent.route, []).append(sent.at)
        return {route: Waits(len(times), max(0.0, now - min(times))) for route, times in sent_at.items()}

    # --- what is owed ------------------------------------------------------------------------------------------------
    def owe(self, one: OpenRequest, now: float) -> None:
        """Its request has a result; somebody may still be at work on its latest attempt, if it was waited for."""
        if one.under_way and self.is_current(one.attempts[-1]):
            # The broker may have it though it has not said so yet.
            sent = replace(one.attempts[-1], broker_has_it_at=min(now, one.attempts[-1].broker_has_it_at))
            self._owed[one.name] = _Owed(len(one.attempts) - 1, sent)
            self._forget(one)

    def heard_of(
        self, request: str, attempt: int, now: float, *, answered: bool, whole: bool, early: bool = False
    ) -> None:
        """An answer or a fault to an attempt that nobody waits for any more: nobody works on it any more, either.

        `whole` and `early` are as in `RouteBoard.sign_of_life`.
        """
        owed = self._owed.get(request)
        if owed is not None and owed.attempt == attempt:
            self._settle(request)
            seconds = now - owed.sent.at if answered else None
            self.board.sign_of_life(owed.sent.route, seconds, whole=whole, early=early)

    def settle_over(self, device: str) -> None:
        """The device is gone, and with it what it was given."""
        for name in [name for name, owed in self._owed.items() if owed.sent.passes(device)]:
            self._settle(name)

    def settle_overdue(self, now: float) -> None:
        """Nothing is expected any more of what was given up so long ago."""
        for name in [name for name, owed in self._owed.items() if now >= self._patient_until(owed.sent)]:
            self._settle(name)

    # --- times -------------------------------------------------------------------------------------------------------
    def next_overdue(self) -> list[float]:
        """When answers should be there; without those that the broker does not have yet."""
        waits = (self._patient_until(one.attempts[-1]) for one in self._requests.values())
        return [until for until in waits if until < math.inf]

    def next_room(self, now: float) -> list[float]:
        """When a route may be able to take a request again though nothing happens."""
        return [*self.board.next_change(now), *(self._patient_until(owed.sent) for owed in self._owed.values())]

    def _patient_until(self, sent: Sent) -> float:
        until = sent.broker_has_it_at + sent.patience_s
        if self.board.plan is None or self.is_current(sent):
            return until
        return min(until, max(sent.at, self._superseded_at) + max(self._patience.grace_s, sent.usual_s))

    def _settle(self, request: str) -> None:
        self.board.release(self._owed.pop(request).sent.route)

    def _forget(self, one: OpenRequest) -> None:
        del self._requests[one.name]
        one.under_way = False
