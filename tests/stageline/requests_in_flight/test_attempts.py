"""What is sent, what is sent again, and when that ends."""

from __future__ import annotations

import pytest

from stageline.patience import Patience
from stageline.requests_in_flight import RequestsInFlight
from stageline.sending import GiveUp
from tests.stageline.requests_in_flight.flights import (
    act,
    give_ups,
    go,
    make_plan,
    sends,
)


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
