"""What fails in time, with which words, and what is not sent because it would come too late."""

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
    slow_plan,
    worker,
)


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
