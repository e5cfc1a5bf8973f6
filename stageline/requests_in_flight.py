"""Every accepted request until its one visible result: what to send now, what to send again, what to give up. Pure.

No clock, no socket: events come in with the local monotonic time they happened at, `due(now)` says what to do. The
guarantee of the whole system ends here: an accepted request resolves exactly once, by its first answer or one failure.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Final, Literal

from schemas.frame import FrameFault
from schemas.plan import Plan
from schemas.stages import StagesHeld
from stageline.route_choice import RouteBoard

_PLAN_MOVED_ON: Final = frozenset({"wrong-generation", "draining", "no-plan"})
"""Faults that say nothing of the request: it goes again, over the plan as it is then."""
_REMEMBERED: Final = 4096
"""Resolved requests remembered, so that a duplicate answer is told from a late one."""


@dataclass(frozen=True, slots=True)
class Patience:
    """When to send again and when to stop; seconds and counts."""

    floor_s: float = 1.0
    """No answer is taken for lost sooner than this, however fast the route."""
    grace_s: float = 1.0
    """How long at least a superseded generation may still answer (it drains) before its requests take the new plan."""
    fault_pause_s: float = 0.05
    """Before trying again after a fault; doubles with each attempt."""
    max_attempts: int = 12
    max_stage_failures: int = 2
    """After a stage failed on a request it is tried this many times more, over other routes where there are some."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send this request now, over route `route` of `plan`."""

    request: str
    attempt: int
    plan: Plan
    route: int
    budget_ms: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """This request has failed; nothing more will come of it."""

    request: str
    reason: str
    detail: str
    device: str = ""
    sent: int = field(default=0, compare=False)
    """Attempts that the broker took: 0 says nothing of the request, only of the line."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Requests under way over one route, and for how long the oldest of them."""

    requests: int
    oldest_s: float


@dataclass(slots=True)
class Audit:
    """`submitted = answered + failed` once nothing is open; what is missing from that is lost."""

    submitted: int = 0
    answered: int = 0
    failed: int = 0
    open: int = 0
    resent: int = 0
    duplicates_dropped: int = 0
    """Answers to a request that already had one; none was ever shown."""
    late_dropped: int = 0
    """Answers that came after their request had failed."""
    cached: int = 0
    """Answers given from the client's cache, to requests that are in none of the other counts."""

    @property
    def lost(self) -> int:
        """Requests that are neither open nor resolved: always 0, or this file is wrong."""
        return self.submitted - self.answered - self.failed - self.open

    def as_dict(self) -> dict[str, int]:
        """For JSON."""
        return {**asdict(self), "lost": self.lost}


@dataclass(frozen=True, slots=True)
class Sent:
    """One attempt: over which route of which plan, and since when."""

    plan: Plan
    route: int
    at: float
    usual_s: float
    """By when nearly every answer over this route is there."""
    patience_s: float
    """How long its answer is waited for once the broker has it. Until then it is the bus that tries again."""
    broker_has_it_at: float = math.inf


@dataclass(frozen=True, slots=True)
class _Owed:
    """An attempt whose request has its result already, while somebody may still work on it."""

    attempt: int
    sent: Sent


@dataclass(slots=True)
class _Request:
    name: str
    order: int
    accepted_at: float
    deadline: float
    attempts: list[Sent] = field(default_factory=list)
    under_way: bool = False
    """The last attempt is still waited for; otherwise the request waits to be sent."""
    timeouts: int = 0
    stage_failures: int = 0
    last_fault: FrameFault | None = None
    passed_over: str = ""
    """Why others went before it when it was its turn; empty when nobody did."""


class RequestsInFlight:
    """All requests of one submitter to one deployment."""

    def __init__(self, patience: Patience | None = None) -> None:
        self.audit = Audit()
        self.board = RouteBoard(None)
        self._patience = patience or Patience()
        self._open: dict[str, _Request] = {}
        self._under_way: dict[str, _Request] = {}
        self._owed: dict[str, _Owed] = {}
        """Each keeps its place in the route's window: else whoever gives up early would fill the line without end."""
        self._waiting: list[tuple[int, str]] = []
        self._too_late: list[tuple[float, int, str]] = []
        """Passed over: their answers would come too late. By negated deadline: whoever has the most time left first."""
        self._paused: list[tuple[float, int, str]] = []
        self._deadlines: list[tuple[float, str]] = []
        self._resolved: OrderedDict[str, Literal["answered", "failed"]] = OrderedDict()
        self._held: Mapping[str, StagesHeld] = {}
        self._superseded_at = 0.0
        self._order = 0

    # --- events ------------------------------------------------------------------------------------------------------
    def accept(self, request: str, *, now: float, deadline: float) -> None:
        """From here on this request gets exactly one result."""
        self._order += 1
        self._open[request] = _Request(request, self._order, now, deadline)
        self.audit.submitted += 1
        self.audit.open += 1
        heapq.heappush(self._waiting, (self._order, request))
        heapq.heappush(self._deadlines, (deadline, request))

    def follow(self, plan: Plan | None, *, now: float) -> None:
        """Another plan is served, or none. What is under way over the old one gets its grace."""
        if plan == self.board.plan:
            return
        self.board = RouteBoard(plan)
        self.board.see(self._held)
        self._owed.clear()
        self._superseded_at = now
        for request in self._open.values():
            request.timeouts = 0

    def devices(self, held: Mapping[str, StagesHeld], *, now: float) -> None:
        """What the workers hold now. What was under way on one that left, or came back as another, goes again."""
        before, self._held = self._held, dict(held)
        for device, worker in before.items():
            after = held.get(device)
            if worker.online and (after is None or not after.online or after.boot_id != worker.boot_id):
                for request in list(self._under_way.values()):
                    sent = request.attempts[-1]
                    if device in sent.plan.routes[sent.route].devices:
                        self._take_back(request, now)
                for name, owed in list(self._owed.items()):
                    if device in owed.sent.plan.routes[owed.sent.route].devices:
                        self._settle(name)
        self.board.see(self._held)

    def answered(self, request: str, attempt: int, *, now: float) -> bool:
        """True for the one answer to show; duplicates, latecomers and strangers are counted and dropped."""
        one = self._open.get(request)
        if one is None:
            self._heard_of(request, attempt, now, answered=True)
            if self._resolved.get(request) == "answered":
                self.audit.duplicates_dropped += 1
            else:
                self.audit.late_dropped += 1
            return False
        if attempt < len(one.attempts):
            sent = one.attempts[attempt]
            if sent.plan is self.board.plan:
                self.board.sign_of_life(sent.route, now - sent.at)
        self._resolve(one, "answered", now=now, settled=attempt == len(one.attempts) - 1)
        return True

    def faulted(self, request: str, attempt: int, fault: FrameFault, *, now: float) -> GiveUp | None:
        """A device could not serve it: it goes again where that may help, else this is its one failure.

        Faults of attempts that have been replaced are ignored: the one under way decides.
        """
        one = self._under_way.get(request)
        if one is None or attempt != len(one.attempts) - 1:
            self._heard_of(request, attempt, now, answered=False)
            return None
        one.last_fault = fault
        sent = one.attempts[-1]
        if sent.plan is self.board.plan:
            self.board.sign_of_life(sent.route)
        one.stage_failures += fault.code == "stage-failed"
        retry = fault.code in _PLAN_MOVED_ON or fault.code == "stage-failed"
        if not retry or one.stage_failures > self._patience.max_stage_failures:
            return self._give_up(one, fault.code, fault.detail, fault.device, now=now, settled=True)
        self._take_back(one, now, pause_s=self._patience.fault_pause_s * 2 ** min(attempt, 5))
        return None

    def heard(self, request: str, attempt: int, *, now: float) -> None:
        """The broker has it, and somebody listens: from now on an answer is expected."""
        one = self._under_way.get(request)
        if one is not None and attempt == len(one.attempts) - 1:
            one.attempts[-1] = replace(one.attempts[-1], broker_has_it_at=now)

    def unheard(self, request: str, attempt: int, *, now: float) -> None:
        """Nobody listened at the first stage of its route: it waits a little, or goes another way."""
        one = self._under_way.get(request)
        if one is None or attempt != len(one.attempts) - 1:
            return
        sent = one.attempts[-1]
        if sent.plan is self.board.plan:
            self.board.silence(sent.route, now, heard=False)
        self._take_back(one, now)
        one.attempts.pop()  # nothing was sent

    def refuse(self, request: str, reason: str, detail: str, *, now: float, unsent: bool = False) -> GiveUp | None:
        """It cannot go on at all (too large, cancelled, closing): its one failure, unless it already has a result.

        `unsent`: the broker has not taken its latest attempt, and will not.
        """
        one = self._open.get(request)
        return None if one is None else self._give_up(one, reason, detail, now=now, settled=unsent)

    # --- decisions ---------------------------------------------------------------------------------------------------
    def due(self, now: float) -> list[Send | GiveUp]:
        """What to do now; the caller does all of it, in order."""
        actions: list[Send | GiveUp] = []
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][1] not in self._open):
            one = self._open.get(heapq.heappop(self._deadlines)[1])
            if one is not None:
                actions.append(self._give_up(one, *self._why_late(one, now), now=now))
        for one in list(self._under_way.values()):
            if now >= self._patient_until(one.attempts[-1]):
                self._time_out(one, now)
                if len(one.attempts) >= self._patience.max_attempts:
                    detail = f"no answer after {len(one.attempts)} attempts{_told(one.last_fault)}"
                    actions.append(self._give_up(one, "no-answer", detail, now=now))
        for name, owed in list(self._owed.items()):
            if now >= self._patient_until(owed.sent):
                self._settle(name)
        while self._paused and self._paused[0][0] <= now:
            _, order, name = heapq.heappop(self._paused)
            heapq.heappush(self._waiting, (order, name))
        actions.extend(self._sends(now))
        return actions

    def next_due(self, now: float) -> float | None:
        """When `due` should be asked again though nothing happens; None when only an event can change anything."""
        times = [self._deadlines[0][0]] if self._open and self._deadlines else []
        waits = (self._patient_until(one.attempts[-1]) for one in self._under_way.values())
        times += [until for until in waits if until < math.inf]
        times += [self._paused[0][0]] if self._paused else []
        if self._waiting or self._too_late:
            times += self.board.next_change(now)
            times += [self._patient_until(owed.sent) for owed in self._owed.values()]
        return min(times, default=None)

    def waits(self, now: float) -> dict[int, Waits]:
        """What is under way over each route of the plan that is served, where anything is; given up or not."""
        sent_at: dict[int, list[float]] = {}
        under_way = [one.attempts[-1] for one in self._under_way.values()]
        for sent in (*under_way, *(owed.sent for owed in self._owed.values())):
            if sent.plan is self.board.plan:
                sent_at.setdefault(sent.route, []).append(sent.at)
        return {route: Waits(len(times), max(0.0, now - min(times))) for route, times in sent_at.items()}

    # --- inside ------------------------------------------------------------------------------------------------------
    def _sends(self, now: float) -> list[Send]:
        """What goes now, the oldest first; what would come too late lets others go first, for as long as it would."""
        sends: list[Send] = []
        plan = self.board.plan
        while plan is not None and (soonest_s := self.board.soonest_s(now)) is not None:
            self._recall(now, soonest_s)
            if not self._waiting:
                break
            one = self._open.get(self._waiting[0][1])
            if one is not None and not one.attempts and one.deadline - now < soonest_s:
                self._pass_over(one, now, soonest_s)
            elif one is not None:
                tried = {sent.route for sent in one.attempts if sent.plan is plan}
                route = self.board.take(now, avoid=tried)
                if route is None:
                    break
                sends.append(self._send(one, plan, route, now))
            heapq.heappop(self._waiting)
        return sends

    def _pass_over(self, one: _Request, now: float, soonest_s: float) -> None:
        one.passed_over = f"answers took {soonest_s:.1f} s when it had {one.deadline - now:.1f} s left"
        heapq.heappush(self._too_late, (-one.deadline, one.order, one.name))
        if len(self._too_late) > 2 * len(self._open):  # most of them have failed meanwhile
            self._too_late = [entry for entry in self._too_late if entry[2] in self._open]
            heapq.heapify(self._too_late)

    def _recall(self, now: float, soonest_s: float) -> None:
        """Whoever was passed over and could be answered in time as things are now has its old turn again."""
        while self._too_late:
            deadline, order, name = -self._too_late[0][0], *self._too_late[0][1:]
            one = self._open.get(name)
            if one is not None and deadline - now < soonest_s:
                break
            heapq.heappop(self._too_late)
            if one is not None:
                one.passed_over = ""
                heapq.heappush(self._waiting, (order, name))

    def _send(self, one: _Request, plan: Plan, route: int, now: float) -> Send:
        usual_s = self.board.usual_s(route)
        patience_s = max(self._patience.floor_s, usual_s) * 2 ** min(one.timeouts, 3)
        self.audit.resent += bool(one.attempts)
        one.attempts.append(Sent(plan, route, now, usual_s, patience_s))
        one.under_way = True
        self._under_way[one.name] = one
        return Send(one.name, len(one.attempts) - 1, plan, route, max(0.0, one.deadline - now) * 1000)

    def _patient_until(self, sent: Sent) -> float:
        until = sent.broker_has_it_at + sent.patience_s
        if self.board.plan is None or sent.plan is self.board.plan:
            return until
        return min(until, max(sent.at, self._superseded_at) + max(self._patience.grace_s, sent.usual_s))

    def _time_out(self, one: _Request, now: float) -> None:
        sent = one.attempts[-1]
        if sent.plan is self.board.plan:
            self.board.silence(sent.route, now, heard=True)
            one.timeouts += 1
        self._take_back(one, now)

    def _stop_waiting_for(self, one: _Request) -> None:
        if one.under_way:
            sent = one.attempts[-1]
            if sent.plan is self.board.plan:
                self.board.release(sent.route)
            del self._under_way[one.name]
            one.under_way = False

    def _take_back(self, one: _Request, now: float, pause_s: float = 0.0) -> None:
        self._stop_waiting_for(one)
        if pause_s:
            heapq.heappush(self._paused, (now + pause_s, one.order, one.name))
        else:
            heapq.heappush(self._waiting, (one.order, one.name))

    def _heard_of(self, request: str, attempt: int, now: float, *, answered: bool) -> None:
        """An answer or a fault to an attempt that nobody waits for any more: nobody works on it any more, either."""
        owed = self._owed.get(request)
        if owed is not None and owed.attempt == attempt:
            self._settle(request)
            self.board.sign_of_life(owed.sent.route, now - owed.sent.at if answered else None)

    def _settle(self, request: str) -> None:
        self.board.release(self._owed.pop(request).sent.route)

    def _resolve(self, one: _Request, how: Literal["answered", "failed"], *, now: float, settled: bool) -> None:
        """Its one result is there; `settled` when nobody can still be at work on its latest attempt."""
        if one.under_way and not settled and one.attempts[-1].plan is self.board.plan:
            # The broker may have it though it has not said so yet.
            sent = replace(one.attempts[-1], broker_has_it_at=min(now, one.attempts[-1].broker_has_it_at))
            self._owed[one.name] = _Owed(len(one.attempts) - 1, sent)
            del self._under_way[one.name]
            one.under_way = False
        self._stop_waiting_for(one)
        del self._open[one.name]
        self._resolved[one.name] = how
        if len(self._resolved) > _REMEMBERED:
            self._resolved.popitem(last=False)
        self.audit.open -= 1
        if how == "answered":
            self.audit.answered += 1
        else:
            self.audit.failed += 1

    def _give_up(
        self, one: _Request, reason: str, detail: str, device: str = "", *, now: float, settled: bool = False
    ) -> GiveUp:
        self._resolve(one, "failed", now=now, settled=settled)
        sent = sum(attempt.broker_has_it_at < math.inf for attempt in one.attempts)
        return GiveUp(one.name, reason, detail, device, sent)

    def _why_late(self, one: _Request, now: float) -> tuple[str, str]:
        waited = f"{now - one.accepted_at:.1f} s"
        if self.board.plan is None:
            return "no-plan", f"no plan is served; waited {waited}"
        if one.attempts:
            sent = one.attempts[-1]
            over = f"r{sent.route}: {sent.plan.routes[sent.route]} (generation {sent.plan.generation})"
            times = "once" if len(one.attempts) == 1 else f"{len(one.attempts)} times"
            return "deadline", f"no answer within {waited}; sent {times}, last over {over}{_told(one.last_fault)}"
        away = sorted(device for device in self.board.plan.devices if self._is_offline(device))
        why = f"offline: {', '.join(away)}" if away else one.passed_over or self.board.why_not()
        return "deadline", f"could not be sent within {waited}; {why}"

    def _is_offline(self, device: str) -> bool:
        worker = self._held.get(device)
        return worker is not None and not worker.online


def _told(fault: FrameFault | None) -> str:
    return f"; the last fault was {fault.code} on {fault.device or 'a device'}: {fault.detail}" if fault else ""
