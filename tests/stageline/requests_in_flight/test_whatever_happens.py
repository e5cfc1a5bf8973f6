"""What is sent, sent again and given up, whatever the order in which things happen."""

from __future__ import annotations

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from schemas.frame_header import ErrorCode
from schemas.plan import Plan
from schemas.stages import StagesHeld
from stageline.patience import Patience
from stageline.requests_in_flight import RequestsInFlight
from stageline.sending import GiveUp, Send
from tests.stageline.requests_in_flight.flights import (
    DEVICES,
    fault,
    make_plan,
    worker,
)

ROUTES = st.lists(st.lists(st.sampled_from(DEVICES), min_size=1, max_size=3).map(tuple), min_size=1, max_size=3)
FAULTS = st.sampled_from(["stage-failed", "draining", "wrong-generation", "bad-input", "expired"])


class Line(RuleBasedStateMachine):
    """Plans and devices come and go, answers are late, doubled or never come: each request resolves once."""

    def __init__(self) -> None:
        super().__init__()
        self.flight = RequestsInFlight(Patience(max_attempts=6))
        self.now = 0.0
        self.names = itertools.count()
        self.generations = itertools.count(1)
        self.plan: Plan | None = None
        self.held: dict[str, StagesHeld] = {}
        self.accepted: set[str] = set()
        self.results: dict[str, str] = {}
        self.sent: list[Send] = []
        self.latest: dict[str, Send] = {}
        self.attempts: dict[str, int] = {}
        self.deadlines: dict[str, float] = {}

    def resolve(self, request: str, how: str) -> None:
        assert request in self.accepted
        assert request not in self.results, "a second result became visible"
        self.results[request] = how
        self.latest.pop(request, None)

    def act(self) -> None:
        for action in self.flight.due(self.now):
            if isinstance(action, GiveUp):
                self.resolve(action.request, action.reason)
                continue
            assert action.request not in self.results, "sent after its result"
            assert action.plan is self.plan
            devices = action.plan.routes[action.route].devices
            assert all(one not in self.held or self.held[one].online for one in devices), "sent to a dead device"
            self.latest[action.request] = action
            self.sent.append(action)
        soonest_s = self.flight.board.soonest_s(self.now)
        for name in self.accepted - self.results.keys() - {one.request for one in self.sent}:
            assert soonest_s is None or self.deadlines[name] - self.now < soonest_s, "left, though it could go"

    @rule(seconds=st.floats(0.1, 30.0))
    def accept(self, seconds: float) -> None:
        name = f"q{next(self.names)}"
        self.accepted.add(name)
        self.deadlines[name] = self.now + seconds
        self.flight.accept(name, now=self.now, deadline=self.now + seconds)
        self.act()

    @rule(routes=ROUTES)
    def replan(self, routes: list[tuple[str, ...]]) -> None:
        self.plan = make_plan(next(self.generations), tuple(routes))
        self.held = {name: worker(name, self.plan, boot=one.boot_id) for name, one in self.held.items() if one.online}
        self.flight.devices(self.held, now=self.now)
        self.flight.follow(self.plan, now=self.now)
        self.act()

    @rule()
    def withdraw(self) -> None:
        self.plan = None
        self.flight.follow(None, now=self.now)
        self.act()

    @rule(device=st.sampled_from(DEVICES), online=st.booleans(), boot=st.sampled_from(["b1", "b2"]))
    def device(self, device: str, online: bool, boot: str) -> None:
        self.held = {**self.held, device: worker(device, self.plan, online=online, boot=boot)}
        self.flight.devices(self.held, now=self.now)
        self.act()

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), duplicates=st.integers(1, 3))
    def answer(self, data: st.DataObject, duplicates: int) -> None:
        send = data.draw(st.sampled_from(self.sent))
        for _ in range(duplicates):
            if self.flight.answered(send.request, send.attempt, now=self.now):
                self.resolve(send.request, "answered")
        self.act()

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), code=FAULTS)
    def fault(self, data: st.DataObject, code: ErrorCode) -> None:
        send = data.draw(st.sampled_from(self.sent))
        failure = self.flight.faulted(send.request, send.attempt, fault(code), now=self.now)
        if failure is not None:
            self.resolve(failure.request, failure.reason)
        self.act()

    @precondition(lambda self: self.latest)
    @rule(data=st.data())
    def heard(self, data: st.DataObject) -> None:
        send = data.draw(st.sampled_from(sorted(self.latest.values(), key=lambda one: one.request)))
        self.flight.heard(send.request, send.attempt, now=self.now)
        self.act()

    @precondition(lambda self: self.latest)
    @rule(data=st.data())
    def unheard(self, data: st.DataObject) -> None:
        send = data.draw(st.sampled_from(sorted(self.latest.values(), key=lambda one: one.request)))
        self.flight.unheard(send.request, send.attempt, now=self.now)
        self.act()

    @precondition(lambda self: self.latest)
    @rule(data=st.data())
    def partly_heard(self, data: st.DataObject) -> None:
        send = data.draw(st.sampled_from(sorted(self.latest.values(), key=lambda one: one.request)))
        failure = self.flight.partly_heard(send.request, send.attempt, now=self.now)
        if failure is not None:
            self.resolve(failure.request, failure.reason)
        self.act()

    @rule(seconds=st.floats(0.01, 5.0))
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.flight.next_due(self.now)) is not None and due <= until:
            assert due >= self.now or self.flight.due(self.now) == [], "overdue work was left undone"
            self.now = max(due, self.now + 1e-6)
            self.act()
        self.now = until
        self.act()

    @invariant()
    def the_books_balance(self) -> None:
        audit = self.flight.audit
        answered = sum(how == "answered" for how in self.results.values())
        assert (audit.submitted, audit.answered, audit.failed) == (
            len(self.accepted), answered, len(self.results) - answered,
        )  # fmt: skip
        assert audit.lost == 0

    @invariant()
    def no_route_is_over_its_window(self) -> None:
        assert self.flight.board.window >= 0
        for index, _ in enumerate(self.plan.routes if self.plan else ()):
            assert 0 <= self.flight.board.busy(index) <= (self.plan.routes[index].window if self.plan else 0)

    def teardown(self) -> None:
        self.now += 1000.0
        self.act()
        assert set(self.results) == self.accepted, "a request never resolved"
        assert self.flight.audit.open == 0


Line.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestLine = Line.TestCase
