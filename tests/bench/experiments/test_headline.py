import pytest

from bench.experiments.headline import change
from bench.turns.seen import Seen


def seen(name, latency_ms, rps):
    return Seen(name, latencies_ms=latency_ms, turn_latency_ms=latency_ms, throughput_rps=rps, max_abs_error=0.0)


def test_changes_are_medians_of_what_changed_within_each_round():
    baseline = seen("eager", [20.0, 80.0, 20.0], [10.0, 2.0, 10.0])
    quickly = seen("ours", [10.0, 40.0, 12.0], [1.0, 1.0, 1.0])
    many = seen("ours", [30.0, 30.0, 30.0], [50.0, 12.0, 55.0])
    found = change(baseline, quickly, many)
    assert found["latency_change_pct"] == pytest.approx(-50.0)
    assert found["throughput_change_pct"] == pytest.approx(450.0)
    assert found["latency_of_throughput_plan_ms"] == 30.0
