"""What is sent, sent again and given up, whatever the order in which things happen."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from schemas.frame import ErrorCode, FrameFault
from schemas.parts import stage_id
from schemas.plan import ExitRule, Plan, Prediction, Route, Stage, StagePrediction
from schemas.stages import HeldStage, StagesHeld
from stageline.patience import Patience
from stageline.requests_in_flight import RequestsInFlight
from stageline.sending import GiveUp, Send

SHA = "0" * 64
DEVICES = ("a", "b", "c")
ROUTES = st.lists(st.lists(st.sampled_from(DEVICES), min_size=1, max_size=3).map(tuple), min_size=1, max_size=3)
FAULTS = st.sampled_from(["stage-failed", "draining", "wrong-generation", "bad-input", "expired"])


def make_plan(generation: int, routes: tuple[tuple[str, ...], ...], window: int = 2) -> Plan:
    return Plan(
        deployment="d", generation=generation, model="m", card_sha=SHA, objective="latency", policy="exact",
        routes=tuple(
            Route(stages=tuple(Stage(device=one, first=i, last=i + 1) for i, one in enumerate(devices)), window=window)
            for devices in routes
        ),
    )  # fmt: skip


def slow_plan(generation: int, routes: tuple[tuple[str, ...], ...], *, latency_s: float, window: int) -> Plan:
    plan = make_plan(generation, routes, window)
    predicted = Prediction(latency_ms=latency_s * 1000, throughput_rps=1 / latency_s, energy_j=1)
    return plan.model_copy(
        update={"routes": tuple(route.model_copy(update={"predicted": predicted}) for route in plan.routes)}
    )


def worker(device: str, plan: Plan | None, *, online: bool = True, boot: str = "b1") -> StagesHeld:
    stages = [
        HeldStage(
            deployment="d", generation=plan.generation, stage=stage_id(i, j), model="m", card_sha=SHA, first=j,
            last=j + 1, state="ready",
        )
        for i, route in enumerate(plan.routes)
        for j, stage in enumerate(route.stages)
        if stage.device == device
    ] if plan and online else []  # fmt: skip
    return StagesHeld(device=device, boot_id=boot, online=online, stages=tuple(stages))


def fault(code: ErrorCode, device: str = "a") -> FrameFault:
    return FrameFault(code=code, detail="it said so", device=device)


def sends(actions: list[Send | GiveUp]) -> list[tuple[str, int, int]]:
    return [(one.request, one.attempt, one.route) for one in actions if isinstance(one, Send)]


def act(flight: RequestsInFlight, now: float) -> list[Send | GiveUp]:
    """Do what is due, with a broker that takes everything at once."""
    actions = flight.due(now)
    for one in actions:
        if isinstance(one, Send):
            flight.heard(one.request, one.attempt, now=now)
    return actions


def go(flight: RequestsInFlight, now: float) -> list[tuple[str, int, int]]:
    return sends(act(flight, now))


def give_ups(actions: list[Send | GiveUp]) -> list[tuple[str, str]]:
    return [(one.request, one.reason) for one in actions if isinstance(one, GiveUp)]


@pytest.fixture
def flight() -> RequestsInFlight:
    one = RequestsInFlight()
    one.follow(make_plan(1, (("a",), ("b",)), window=1), now=0.0)
    return one


def test_requests_wait_for_a_plan_and_fail_clearly_when_none_comes() -> None:
    flight = RequestsInFlight()
    flight.accept("x", now=0.0, deadline=5.0)
    assert flight.due(1.0) == []
    assert flight.next_due(1.0) == 5.0
    (failure,) = flight.due(5.0)
    assert isinstance(failure, GiveUp)
    assert (failure.reason, failure.detail) == ("no-plan", "no plan is served; waited 5.0 s")
    assert flight.audit.lost == 0


def test_only_what_the_windows_hold_is_sent_and_the_oldest_goes_first(flight: RequestsInFlight) -> None:
    for name in "xyz":
        flight.accept(name, now=0.0, deadline=9.0)
    assert go(flight, 0.0) == [("x", 0, 0), ("y", 0, 1)]
    assert flight.answered("y", 0, now=0.1)
    assert go(flight, 0.1) == [("z", 0, 1)]


def test_a_request_without_answer_goes_again_by_another_route(flight: RequestsInFlight) -> None:
    flight.accept("x", now=0.0, deadline=9.0)
    go(flight, 0.0)
    assert flight.next_due(0.0) == 1.0
    assert go(flight, 1.0) == [("x", 1, 1)]
    assert flight.audit.resent == 1


def test_the_first_answer_counts_and_every_other_is_dropped(flight: RequestsInFlight) -> None:
    flight.accept("x", now=0.0, deadline=9.0)
    go(flight, 0.0)
    go(flight, 1.0)
    assert flight.answered("x", 0, now=1.1)
    assert not flight.answered("x", 1, now=1.2)
    assert not flight.answered("stranger", 0, now=1.3)
    assert (flight.audit.answered, flight.audit.duplicates_dropped, flight.audit.late_dropped) == (1, 1, 1)


def test_waits_grow_while_a_single_route_stays_silent() -> None:
    flight = RequestsInFlight()
    flight.follow(make_plan(1, (("a",),)), now=0.0)
    flight.accept("x", now=0.0, deadline=100.0)
    times, now = [], 0.0
    for _ in range(5):
        if go(flight, now):
            times.append(now)
        now = flight.next_due(now) or now
    assert times == [0.0, 1.0, 3.0, 7.0, 15.0]


def test_what_the_broker_has_not_got_yet_is_not_sent_again() -> None:
    flight = RequestsInFlight()
    flight.follow(make_plan(1, (("a",),)), now=0.0)
    flight.accept("x", now=0.0, deadline=60.0)
    assert sends(flight.due(0.0)) == [("x", 0, 0)]
    assert flight.next_due(0.0) == 60.0
    assert flight.due(30.0) == []
    flight.heard("x", 0, now=30.0)
    assert flight.next_due(30.0) == 31.0


def test_a_request_is_given_up_after_so_many_attempts() -> None:
    flight = RequestsInFlight(Patience(max_attempts=3))
    flight.follow(make_plan(1, (("a",),)), now=0.0)
    flight.accept("x", now=0.0, deadline=1000.0)
    seen: list[tuple[str, str]] = []
    now: float | None = 0.0
    while now is not None and not seen:
        seen = give_ups(act(flight, now))
        now = flight.next_due(now)
    assert seen == [("x", "no-answer")]


def test_what_was_under_way_on_a_device_that_left_goes_again_at_once(flight: RequestsInFlight) -> None:
    plan = flight.board.plan
    flight.devices({one: worker(one, plan) for one in "ab"}, now=0.0)
    flight.accept("x", now=0.0, deadline=9.0)
    go(flight, 0.0)
    flight.devices({"a": worker("a", plan, online=False), "b": worker("b", plan)}, now=0.2)
    assert go(flight, 0.2) == [("x", 1, 1)]


def test_a_device_reborn_unseen_has_lost_what_was_under_way_on_it(flight: RequestsInFlight) -> None:
    plan = flight.board.plan
    flight.devices({one: worker(one, plan) for one in "ab"}, now=0.0)
    flight.accept("x", now=0.0, deadline=9.0)
    go(flight, 0.0)
    flight.devices({"a": worker("a", None, boot="b2"), "b": worker("b", plan)}, now=0.2)
    assert go(flight, 0.2) == [("x", 1, 1)]


def test_a_superseded_generation_has_a_grace_to_answer_and_then_the_new_plan_is_used(flight: RequestsInFlight) -> None:
    flight.accept("x", now=0.0, deadline=9.0)
    flight.accept("y", now=0.0, deadline=9.0)
    go(flight, 0.0)
    flight.follow(make_plan(2, (("c",),)), now=0.5)
    assert go(flight, 0.5) == []
    assert flight.answered("x", 0, now=0.6)
    assert flight.next_due(0.6) == 1.0
    assert go(flight, 1.5) == [("y", 1, 0)]


def test_a_slow_superseded_generation_has_as_long_as_its_answers_usually_take() -> None:
    flight = RequestsInFlight()
    flight.follow(slow_plan(1, (("a",),), latency_s=2.0, window=2), now=0.0)
    flight.accept("x", now=0.0, deadline=60.0)
    go(flight, 0.0)
    flight.follow(make_plan(2, (("b",),)), now=0.5)
    assert flight.next_due(0.5) == 6.0


@pytest.mark.parametrize("code", ["bad-input", "expired", "too-large", "bad-frame"])
def test_a_final_fault_is_the_one_failure(flight: RequestsInFlight, code: ErrorCode) -> None:
    flight.accept("x", now=0.0, deadline=9.0)
    go(flight, 0.0)
    failure = flight.faulted("x", 0, fault(code), now=0.1)
    assert failure == GiveUp("x", code, "it said so", "a")
    assert flight.faulted("x", 0, fault(code), now=0.2) is None
    assert flight.audit.failed == 1


def test_a_draining_stage_sends_the_request_another_way_after_a_short_pause(flight: RequestsInFlight) -> None:
    flight.accept("x", now=0.0, deadline=9.0)
    go(flight, 0.0)
    assert flight.faulted("x", 0, fault("draining"), now=0.1) is None
    assert flight.due(0.1) == []
    assert go(flight, flight.next_due(0.1) or 0) == [("x", 1, 1)]


@pytest.mark.parametrize(("device", "trusted"), [("a", False), ("b", True), ("", False)])
def test_a_fault_does_not_vouch_for_what_lies_behind_it(device: str, trusted: bool) -> None:
    flight = RequestsInFlight()
    flight.follow(make_plan(1, (("a", "b"), ("c",))), now=0.0)
    for name, at in (("x", 0.0), ("y", 0.0), ("z", 0.9)):
        flight.accept(name, now=at, deadline=60.0)
        go(flight, at)
    assert flight.answered("y", 0, now=0.95)
    assert go(flight, 1.0) == [("x", 1, 1)]
    assert flight.faulted("z", 0, fault("draining", device), now=1.5) is None
    assert (0 in [flight.board.take(1.6) for _ in range(2)]) == trusted


def test_a_stage_that_keeps_failing_is_reported_after_two_more_tries(flight: RequestsInFlight) -> None:
    flight.accept("x", now=0.0, deadline=9.0)
    now = 0.0
    for attempt in range(2):
        go(flight, now)
        assert flight.faulted("x", attempt, fault("stage-failed"), now=now) is None
        now = flight.next_due(now) or now
    go(flight, now)
    assert flight.faulted("x", 2, fault("stage-failed"), now=now) == GiveUp("x", "stage-failed", "it said so", "a")


def test_a_fault_of_a_replaced_attempt_changes_nothing(flight: RequestsInFlight) -> None:
    flight.accept("x", now=0.0, deadline=9.0)
    go(flight, 0.0)
    go(flight, 1.0)
    assert flight.faulted("x", 0, fault("stage-failed"), now=1.1) is None
    assert flight.answered("x", 1, now=1.2)


def test_unheard_requests_go_elsewhere_and_do_not_count_as_attempts(flight: RequestsInFlight) -> None:
    flight.accept("x", now=0.0, deadline=9.0)
    go(flight, 0.0)
    flight.unheard("x", 0, now=0.0)
    assert go(flight, 0.0) == [("x", 0, 1)]


def test_what_some_of_its_devices_have_and_others_do_not_was_an_attempt_and_goes_again_as_the_next() -> None:
    flight = RequestsInFlight()
    flight.follow(make_plan(1, (("a",),)), now=0.0)
    flight.accept("x", now=0.0, deadline=9.0)
    assert sends(flight.due(0.0)) == [("x", 0, 0)]
    assert flight.partly_heard("x", 0, now=0.0) is None
    assert (flight.audit.resent, flight.board.busy(0)) == (0, 0)
    assert go(flight, flight.next_due(0.0) or 0.0) == [("x", 1, 0)]
    assert flight.audit.resent == 1
    assert flight.partly_heard("x", 0, now=1.0) is None  # of an attempt that has been replaced
    failure = flight.refuse("x", "cancelled", "", now=1.0)
    assert failure is not None
    assert failure.sent == 2


def test_what_is_heard_by_only_some_of_its_devices_is_given_up_after_so_many_attempts() -> None:
    flight = RequestsInFlight(Patience(max_attempts=4))
    flight.follow(make_plan(1, (("a",),)), now=0.0)
    flight.accept("x", now=0.0, deadline=1000.0)
    now, pauses = 0.0, []
    failure = None
    for attempt in range(4):
        assert sends(flight.due(now)) == [("x", attempt, 0)]
        failure = flight.partly_heard("x", attempt, now=now)
        if failure is None:
            pauses.append((flight.next_due(now) or 0.0) - now)
            now = max(flight.board.next_change(now), default=now)
    assert failure is not None
    assert (failure.reason, failure.detail, failure.sent) == ("no-answer", "no answer after 4 attempts", 4)
    assert pauses == pytest.approx([0.05, 0.1, 0.2])
    assert (flight.audit.failed, flight.audit.lost, flight.board.busy(0), flight.due(2000.0)) == (1, 0, 0, [])


def test_a_late_failure_names_the_devices_that_are_offline() -> None:
    flight = RequestsInFlight()
    plan = make_plan(1, (("a", "b"),))
    flight.follow(plan, now=0.0)
    flight.devices({"b": worker("b", plan, online=False)}, now=0.0)
    flight.accept("x", now=0.0, deadline=2.0)
    (failure,) = flight.due(2.0)
    assert isinstance(failure, GiveUp)
    assert failure.detail == "could not be sent within 2.0 s; offline: b"


def test_a_late_failure_says_that_stages_were_not_ready() -> None:
    flight = RequestsInFlight()
    flight.follow(make_plan(1, (("a",),)), now=0.0)
    flight.devices({"a": worker("a", None)}, now=0.0)
    flight.accept("x", now=0.0, deadline=2.0)
    (failure,) = flight.due(2.0)
    assert isinstance(failure, GiveUp)
    assert failure.detail == "could not be sent within 2.0 s; no route has all its stages ready"


def test_refusing_resolves_once(flight: RequestsInFlight) -> None:
    flight.accept("x", now=0.0, deadline=9.0)
    go(flight, 0.0)
    assert flight.refuse("x", "closed", "the client was closed", now=0.5) is not None
    assert flight.refuse("x", "closed", "the client was closed", now=0.5) is None
    assert not flight.answered("x", 0, now=1.0)
    assert flight.audit.late_dropped == 1


def test_what_failed_at_its_deadline_keeps_its_place_until_it_is_heard_of() -> None:
    flight = RequestsInFlight()
    flight.follow(make_plan(1, (("a",),), window=1), now=0.0)
    for name, deadline in (("x", 0.5), ("y", 0.6), ("z", 9.0)):
        flight.accept(name, now=0.0, deadline=deadline)
    go(flight, 0.0)
    assert give_ups(act(flight, 0.6)) == [("x", "deadline"), ("y", "deadline")]
    assert flight.board.busy(0) == 1
    flight.answered("x", 1, now=0.7)  # no attempt of its own
    assert go(flight, 0.7) == []
    flight.answered("x", 0, now=0.8)
    assert go(flight, 0.8) == [("z", 0, 0)]
    assert flight.audit.late_dropped == 2


def test_what_the_broker_may_have_got_in_the_last_moment_keeps_its_place_and_what_it_cannot_take_does_not() -> None:
    flight = RequestsInFlight()
    flight.follow(make_plan(1, (("a",),), window=1), now=0.0)
    for name, deadline in (("x", 0.5), ("y", 9.0), ("z", 9.0)):
        flight.accept(name, now=0.0, deadline=deadline)
    flight.due(0.0)
    flight.due(0.5)
    assert flight.next_due(0.5) == 1.5
    assert sends(flight.due(1.5)) == [("y", 0, 0)]
    flight.refuse("y", "too-large", "no broker takes so much", now=1.6, unsent=True)
    assert sends(flight.due(1.6)) == [("z", 0, 0)]


def test_nothing_is_sent_that_would_come_too_late_unless_nobody_else_is_under_way() -> None:
    flight = RequestsInFlight(Patience(floor_s=60.0))
    flight.follow(make_plan(1, (("a",),), window=2), now=0.0)
    for name, deadline in (("x", 9.0), ("y", 2.9), ("z", 9.0), ("late", 4.5)):
        flight.accept(name, now=0.0, deadline=deadline)
    assert go(flight, 0.0) == [("x", 0, 0), ("y", 0, 0)]
    assert flight.answered("x", 0, now=2.0)
    assert flight.board.soonest_s(2.0) == 2.0
    assert go(flight, 2.0) == [("z", 0, 0)]
    assert flight.answered("y", 0, now=2.8)
    # Half as much time is left as answers take; the place stays for whoever has more.
    assert go(flight, 2.8) == []
    flight.accept("idle", now=2.8, deadline=3.0)
    assert flight.answered("z", 0, now=2.9)
    assert go(flight, 2.9) == [("late", 0, 0)]
    (idle,) = flight.due(3.0)
    assert isinstance(idle, GiveUp)
    assert idle.detail == "could not be sent within 0.2 s; answers took 2.0 s when it had 0.1 s left"
    assert give_ups(act(flight, 4.5)) == [("late", "deadline")]


@pytest.mark.parametrize("how", ["a faster plan", "a faster answer", "nobody else is under way"])
def test_what_was_passed_over_has_its_turn_as_soon_as_it_could_be_answered_in_time(how: str) -> None:
    flight = RequestsInFlight(Patience(floor_s=60.0))
    flight.follow(slow_plan(1, (("a",),), latency_s=5.0, window=3), now=0.0)
    for name, deadline in (("x", 30.0), ("y", 30.0), ("late", 4.0), ("later", 4.5)):
        flight.accept(name, now=0.0, deadline=deadline)
    assert go(flight, 0.0) == [("x", 0, 0), ("y", 0, 0)]
    expected = [("late", 0, 0), ("later", 0, 0)]
    if how == "a faster plan":
        flight.follow(slow_plan(2, (("b",),), latency_s=0.1, window=2), now=0.5)
    elif how == "a faster answer":
        assert flight.answered("x", 0, now=0.5)
    else:
        flight.refuse("x", "cancelled", "", now=0.5, unsent=True)
        flight.refuse("y", "cancelled", "", now=0.5, unsent=True)
        expected = [("late", 0, 0)]
    assert go(flight, 0.5) == expected


def test_what_is_passed_over_all_the_time_leaves_nothing_behind() -> None:
    flight = RequestsInFlight(Patience(floor_s=1e9))
    flight.follow(slow_plan(1, (("a",),), latency_s=5.0, window=2), now=0.0)
    flight.accept("x", now=0.0, deadline=1e9)
    go(flight, 0.0)
    for number in range(500):
        flight.accept(f"late {number}", now=number, deadline=number + 1.5)
        assert len(act(flight, number)) <= 1
    assert len(flight._line._too_late) < 10
    assert flight.audit.open <= 3


@pytest.mark.parametrize("how", ["fault", "silence", "another plan", "its device left"])
def test_a_place_that_nobody_can_be_at_work_for_is_free_again(how: str) -> None:
    flight = RequestsInFlight()
    plan = make_plan(1, (("a",),), window=1)
    flight.devices({"a": worker("a", plan)}, now=0.0)
    flight.follow(plan, now=0.0)
    flight.accept("x", now=0.0, deadline=0.5)
    flight.accept("z", now=0.0, deadline=9.0)
    go(flight, 0.0)
    assert give_ups(act(flight, 0.5)) == [("x", "deadline")]
    assert flight.next_due(0.5) == 1.0
    if how == "fault":
        assert flight.faulted("x", 0, fault("expired"), now=0.6) is None
    elif how == "another plan":
        flight.follow(make_plan(2, (("b",),), window=1), now=0.6)
    elif how == "its device left":
        flight.devices({"a": worker("a", plan, boot="b2")}, now=0.6)
    assert go(flight, 1.0 if how == "silence" else 0.6) == [("z", 0, 0)]
    assert flight.board.busy(0) == 1


def test_a_request_whose_earlier_attempt_is_answered_keeps_the_place_of_its_later_one(flight: RequestsInFlight) -> None:
    flight.accept("x", now=0.0, deadline=9.0)
    go(flight, 0.0)
    go(flight, 1.0)
    assert flight.answered("x", 0, now=1.1)
    assert (flight.board.busy(0), flight.board.busy(1)) == (0, 1)
    assert not flight.answered("x", 1, now=1.2)
    assert flight.board.busy(1) == 0


def early_plan(*routes: tuple[str, ...]) -> Plan:
    """Nearly all leave at the first stage: a mean of 0.5 s, and 3.2 s for those that do not."""
    quick = StagePrediction(down_ms=0, compute_ms=200, up_ms=0)
    deep = StagePrediction(down_ms=0, compute_ms=3000, up_ms=0)
    plan = slow_plan(1, routes, latency_s=0.5, window=4)
    told = tuple(route.model_copy(update={"stage_predictions": (quick, deep)}) for route in plan.routes)
    exits = (ExitRule(name="exit1", block=0, threshold=0.8, share=0.9),)
    return plan.model_copy(update={"routes": told, "exits": exits})


@pytest.mark.parametrize("before", ["nothing", "easy ones", "easy ones by an exit of the last stage", "late ones"])
def test_easy_requests_do_not_make_a_hard_one_go_twice(before: str) -> None:
    flight = RequestsInFlight()
    flight.follow(early_plan(("a", "b"), ("c", "d")), now=0.0)
    now, whole = 0.0, before == "easy ones by an exit of the last stage"
    for number in range(0 if before == "nothing" else 40):
        flight.accept(f"easy {number}", now=now, deadline=now + (0.1 if before == "late ones" else 9.0))
        go(flight, now)
        act(flight, now + 0.15)
        assert flight.answered(f"easy {number}", 0, now=now + 0.2, whole=whole, early=True) == (before != "late ones")
        now += 1.0
    flight.accept("hard", now=now, deadline=now + 30.0)
    ((_, _, route),) = go(flight, now)
    for tenth in range(1, 50):
        assert go(flight, now + tenth / 10) == []
    assert flight.answered("hard", 0, now=now + 5.0)
    for name in ("x", "y"):
        flight.accept(name, now=now + 5.0, deadline=now + 30.0)
    # Nothing is held against its route.
    assert {one[2] for one in go(flight, now + 5.0)} == {route, 1 - route}


def test_where_all_leave_by_exits_their_answers_teach_how_long_to_wait() -> None:
    flight = RequestsInFlight()
    flight.follow(make_plan(1, (("a", "b"),)), now=0.0)
    flight.accept("x", now=0.0, deadline=99.0)
    go(flight, 0.0)
    assert flight.answered("x", 0, now=8.0, whole=False, early=True)
    assert flight.board.usual_s(0) > 8.0


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
