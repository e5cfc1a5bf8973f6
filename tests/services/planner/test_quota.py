"""Work under a CPU quota: short bursts pass, long work is slowed down to the quota's share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.planner.quota import idle_wall_ms


def wall(cpu_ms: float, cores: float, period_ms: float) -> float:
    return float(idle_wall_ms(np.array([cpu_ms]), cores, period_ms)[0])


def test_a_whole_core_slows_nothing_down() -> None:
    assert wall(12.0, 1.0, 10.0) == 12.0
    assert wall(12.0, 3.5, 100.0) == 12.0


def test_without_a_period_work_is_slower_by_the_share() -> None:
    assert wall(12.0, 0.25, 0.0) == 48.0


def test_a_burst_shorter_than_the_quota_is_hardly_slowed_down() -> None:
    assert wall(0.5, 0.5, 100.0) == pytest.approx(0.5, abs=0.2)


def test_a_hand_computed_case() -> None:
    """Half a core, period 10: 8 ms of work. 5 pass, or what is left of the period; a tick's overrun of up to 4 more."""
    cases = []
    for left_of_period in (np.arange(800) + 0.5) / 80:
        for overrun in (0.5, 1.5, 2.5, 3.5):
            remaining = 8 - min(5, left_of_period)
            if remaining <= overrun:
                cases.append(8.0)
            elif remaining - overrun <= 5:
                cases.append(max(8.0, left_of_period + remaining))
            else:
                cases.append(left_of_period + 10 + remaining - 5)
    assert wall(8.0, 0.5, 10.0) == pytest.approx(np.mean(cases), rel=0.03)


@given(cpu_ms=st.floats(0.001, 500), cores=st.floats(0.05, 0.99), period_ms=st.floats(1, 100))
def test_it_is_between_no_slow_down_and_the_sustained_one_plus_a_stop(
    cpu_ms: float, cores: float, period_ms: float
) -> None:
    took = wall(cpu_ms, cores, period_ms)
    assert took >= cpu_ms - 1e-9
    assert took <= cpu_ms / cores + period_ms * (1 - cores) + 1e-6


@given(cores=st.floats(0.05, 0.99), period_ms=st.floats(1, 100))
def test_more_work_never_takes_less(cores: float, period_ms: float) -> None:
    times = idle_wall_ms(np.linspace(0, 300, 200), cores, period_ms)
    assert bool((np.diff(times) >= -1e-9).all())


def test_what_cannot_run_still_cannot() -> None:
    assert np.isinf(wall(np.inf, 0.5, 10.0))
