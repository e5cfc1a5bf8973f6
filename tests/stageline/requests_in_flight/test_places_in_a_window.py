"""Who holds a place in a route's window, and when it is free again."""

from __future__ import annotations

import pytest

from stageline.requests_in_flight import RequestsInFlight
from tests.stageline.requests_in_flight.flights import (
    act,
    fault,
    give_ups,
    go,
    make_plan,
    sends,
    worker,
)


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
