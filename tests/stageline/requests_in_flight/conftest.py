"""Requests in flight by two routes, with room for one each."""

from __future__ import annotations

import pytest

from stageline.requests_in_flight import RequestsInFlight
from tests.stageline.requests_in_flight.flights import (
    make_plan,
)


@pytest.fixture
def flight() -> RequestsInFlight:
    one = RequestsInFlight()
    one.follow(make_plan(1, (("a",), ("b",)), window=1), now=0.0)
    return one
