"""Every accepted request until its one visible result: what to send now, what to send again, what to give up. Pure.

No clock, no socket: events come in with the local monotonic time they happened at, `due(now)` says what to do. The
guarantee of the whole system ends here: an accepted request resolves exactly once, by its first answer or one failure.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

from schemas.frame_header import FrameFault
from schemas.plan import Plan
from schemas.stages import StagesHeld
from stageline.audit import Audit
from stageline.open_request import OpenRequest
from stageline.patience import Patience
from stageline.route_choice import RouteBoard
from stageline.sending import GiveUp, Send
from stageline.under_way import UnderWay, Waits
from stageline.waiting_line import WaitingLine

_PLAN_MOVED_ON: Final = frozenset({"wrong-generation", "draining", "no-plan"})
"""Faults that say nothing of the request: it goes again, over the plan as it is then."""
_REMEMBERED: Final = 4096
"""Resolved requests remembered, so that a duplicate answer is told from a late one."""


class RequestsInFlight:
    """All requests of one submitter to one deployment."""

    def __init__(self, patience: Patience | None = None) -> None:
        self.audit = Audit()
        self._patience = patience or Patience()
        self._open: dict[str, OpenRequest] = {}
        self._line = WaitingLine(self._open)
        self._under_way = UnderWay(self._patience)
        self._deadlines: list[tuple[float, str]] = []
        self._resolved: OrderedDict[str, Literal["answered", "failed"]] = OrderedDict()
        self._held: Mapping[str, StagesHeld] = {}
        self._order = 0

    @property
    def board(self) -> RouteBoard:
        """The routes of the plan that is served."""
        return self._under_way.board

    # --- events ------------------------------------------------------------------------------------------------------
    def accept(self, request: str, *, now: float, deadline: float) -> None:
        """From here on this request gets exactly one result."""
        self._order += 1
        one = self._open[request] = OpenRequest(request, self._order, now, deadline)
        self.audit.submitted += 1
        self.audit.open += 1
        self._line.join(one)
        heapq.heappush(self._deadlines, (deadline, request))

    def follow(self, plan: Plan | None, *, now: float) -> None:
        """Another plan is served, or none. What is under way over the old one gets its grace."""
        if plan == self.board.plan:
            return
        self._under_way.follow(plan, self._held, now=now)
        for request in self._open.values():
            request.timeouts = 0

    def devices(self, held: Mapping[str, StagesHeld], *, now: float) -> None:
        """What the workers hold now. What was under way on one that left, or came back as another, goes again."""
        before, self._held = self._held, dict(held)
        for device, worker in before.items():
            after = held.get(device)
            if worker.online and (after is None or not after.online or after.boot_id != worker.boot_id):
                for request in self._under_way.over(device):
                    self._take_back(request, now)
                self._under_way.settle_over(device)
        self.board.see(self._held)

    def answered(self, request: str, attempt: int, *, now: float, whole: bool = True, early: bool = False) -> bool:
        """True for the one answer to show; duplicates, latecomers and strangers are counted and dropped.

        `whole`: it has been through all of its route, and not left before its last stage; `early`: it left by an exit.
        """
        one = self._open.get(request)
        if one is None:
            self._under_way.heard_of(request, attempt, now, answered=True, whole=whole, early=early)
            if self._resolved.get(request) == "answered":
                self.audit.duplicates_dropped += 1
            else:
                self.audit.late_dropped += 1
            return False
        if attempt < len(one.attempts):
            sent = one.attempts[attempt]
            if self._under_way.is_current(sent):
                self.board.sign_of_life(sent.route, now - sent.at, whole=whole, early=early)
        self._resolve(one, "answered", now=now, settled=attempt == len(one.attempts) - 1)
        return True

    def faulted(self, request: str, attempt: int, fault: FrameFault, *, now: float) -> GiveUp | None:
        """A device could not serve it: it goes again where that may help, else this is its one failure.

        Faults of attempts that have been replaced are ignored: the one under way decides.
        """
        one = self._under_way.find(request, attempt)
        if one is None:
            self._under_way.heard_of(request, attempt, now, answered=False, whole=False)
            return None
        one.last_fault = fault
        sent = one.attempts[-1]
        if self._under_way.is_current(sent):
            self.board.sign_of_life(sent.route, whole=sent.ends_on(fault.device))
        one.stage_failures += fault.code == "stage-failed"
        retry = fault.code in _PLAN_MOVED_ON or fault.code == "stage-failed"
        if not retry or one.stage_failures > self._patience.max_stage_failures:
            return self._give_up(one, fault.code, fault.detail, fault.device, now=now, settled=True)
        self._take_back(one, now, pause_s=self._patience.fault_pause_s * 2 ** min(attempt, 5))
        return None

    def heard(self, request: str, attempt: int, *, now: float) -> None:
        """The broker has it, and somebody listens: from now on an answer is expected."""
        one = self._under_way.find(request, attempt)
        if one is not None:
            one.attempts[-1] = replace(one.attempts[-1], broker_has_it_at=now)

    def unheard(self, request: str, attempt: int, *, now: float) -> None:
        """Nobody listened at the first stage of its route: it waits a little, or goes another way."""
        one = self._under_way.find(request, attempt)
        if one is None:
            return
        sent = one.attempts[-1]
        if self._under_way.is_current(sent):
            self.board.silence(sent.route, now, heard=False)
        self._take_back(one, now)
        one.attempts.pop()  # nothing was sent

    def partly_heard(self, request: str, attempt: int, *, now: float) -> GiveUp | None:
        """Some devices have a part of it, others do not listen: no answer can come, and it goes again as a whole.

        Those that have it compute for nothing: it counts as an attempt, and the pause doubles with each.
        """
        one = self._under_way.find(request, attempt)
        if one is None:
            return None
        self.heard(request, attempt, now=now)
        sent = one.attempts[-1]
        if self._under_way.is_current(sent):
            self.board.silence(sent.route, now, heard=False)
        if len(one.attempts) >= self._patience.max_attempts:
            return self._give_up(one, "no-answer", one.why_unanswered(), now=now, settled=True)
        self._take_back(one, now, pause_s=self._patience.fault_pause_s * 2 ** min(attempt, 5))
        return None

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
                actions.append(self._give_up(one, *one.why_late(now, self.board, self._held), now=now))
        for one in self._under_way.overdue(now):
            self._time_out(one, now)
            if len(one.attempts) >= self._patience.max_attempts:
                actions.append(self._give_up(one, "no-answer", one.why_unanswered(), now=now))
        self._under_way.settle_overdue(now)
        self._line.resume(now)
        actions.extend(self._sends(now))
        return actions

    def next_due(self, now: float) -> float | None:
        """When `due` should be asked again though nothing happens; None when only an event can change anything."""
        times = [self._deadlines[0][0]] if self._open and self._deadlines else []
        times += self._under_way.next_overdue()
        if (resume_at := self._line.next_resume) is not None:
            times.append(resume_at)
        if self._line:
            times += self._under_way.next_room(now)
        return min(times, default=None)

    def waits(self, now: float) -> dict[int, Waits]:
        """What is under way over each route of the plan that is served, where anything is; given up or not."""
        return self._under_way.waits(now)

    # --- inside ------------------------------------------------------------------------------------------------------
    def _sends(self, now: float) -> list[Send]:
        """What goes now, the oldest first, for as long as there is room on a route."""
        sends: list[Send] = []
        plan = self.board.plan
        while plan is not None and (soonest_s := self.board.soonest_s(now)) is not None:
            one = self._line.first(now, soonest_s)
            if one is None:
                break
            route = self.board.take(now, avoid={sent.route for sent in one.attempts if sent.plan is plan})
            if route is None:
                break
            self._line.leave()
            self.audit.resent += bool(one.attempts)
            self._under_way.begin(one, plan, route, now)
            budget_ms = max(0.0, one.deadline - now) * 1000
            sends.append(Send(one.name, len(one.attempts) - 1, plan, route, budget_ms))
        return sends

    def _time_out(self, one: OpenRequest, now: float) -> None:
        sent = one.attempts[-1]
        if self._under_way.is_current(sent):
            self.board.silence(sent.route, now, heard=True)
            one.timeouts += 1
        self._take_back(one, now)

    def _take_back(self, one: OpenRequest, now: float, pause_s: float = 0.0) -> None:
        self._under_way.end(one)
        if pause_s:
            self._line.pause(one, now + pause_s)
        else:
            self._line.join(one)

    def _resolve(self, one: OpenRequest, how: Literal["answered", "failed"], *, now: float, settled: bool) -> None:
        """Its one result is there; `settled` when nobody can still be at work on its latest attempt."""
        if not settled:
            self._under_way.owe(one, now)
        self._under_way.end(one)
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
        self, one: OpenRequest, reason: str, detail: str, device: str = "", *, now: float, settled: bool = False
    ) -> GiveUp:
        self._resolve(one, "failed", now=now, settled=settled)
        return GiveUp(one.name, reason, detail, device, one.heard_attempts)
