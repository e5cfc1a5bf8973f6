import pytest

from bench.experiments.overhead import services_share, shares
from bench.loads import FlatOut


def run(broker: float, workers: float) -> FlatOut:
    cpu_s = {"broker": broker, "planner": 0.1, "monitors": 0.2, "workers": workers, "submitter": 50.0}
    return FlatOut(
        throughput_rps=80.0, cpu_s=cpu_s, wall_s=10.0, resident_bytes={}, energy_j=0.0, energy_method="modelled",
        counted=800, latencies_ms=(),
    )  # fmt: skip


def test_the_submitter_is_in_no_share():
    assert services_share(run(0.7, 9.0).cpu_s) == pytest.approx(0.1)


def test_a_monitors_share_is_of_one_monitor_and_the_worse_of_resting_and_serving():
    rest = {"monitors": 0.15, "workers": 0.3}
    found = shares([run(0.7, 9.0), run(0.7, 9.0)], [rest, rest], 5.0, monitors=2)
    assert found["monitor_core_pct_serving"] == pytest.approx(1.0)
    assert found["monitor_core_pct_at_rest"] == pytest.approx(1.5)
    assert found["monitor_core_pct"] == pytest.approx(1.5)
    assert found["services_share_pct"] == pytest.approx(10.0)
    assert found["cpu_s"]["workers"] == pytest.approx(18.0)
