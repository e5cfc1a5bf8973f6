"""What a stage's fault does to a request, and says of its route."""

from __future__ import annotations

import pytest

from schemas.frame_header import ErrorCode
from stageline.requests_in_flight import RequestsInFlight
from stageline.sending import GiveUp
from tests.stageline.requests_in_flight.flights import (
    fault,
    go,
    make_plan,
)


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
