"""Requests under way when a device leaves, or another plan comes."""

from __future__ import annotations

from stageline.requests_in_flight import RequestsInFlight
from tests.stageline.requests_in_flight.flights import (
    go,
    make_plan,
    slow_plan,
    worker,
)


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
