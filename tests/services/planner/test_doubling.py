"""Waiting twice as long each further time."""

import pytest

from services.planner.doubling import doubled


@pytest.mark.parametrize(("times", "waits_s"), [(-1, 5.0), (0, 5.0), (1, 10.0), (3, 40.0), (4, 60.0), (2**53, 60.0)])
def test_each_further_time_waits_twice_as_long_within_the_bound(times: int, waits_s: float) -> None:
    assert doubled(5.0, times, 60.0) == waits_s
