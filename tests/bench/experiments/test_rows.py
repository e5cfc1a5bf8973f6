import pytest

from bench.experiments.rows import Found, row
from schemas.plan import Plan, Prediction
from schemas.plan_text import parse_route


def plan(text: str, latency_ms: float) -> Plan:
    predicted = Prediction(latency_ms=latency_ms, throughput_rps=1.0, energy_j=1.0)
    return Plan(
        deployment="d", generation=1, model="net", card_sha="a" * 64, objective="latency", policy="exact",
        routes=(parse_route(text),), predicted=predicted,
    )  # fmt: skip


PLAIN = Found(plan("high[0:9)", 40.0), [(40.0, 42.0, 44.0), (80.0, 84.0, 88.0)], [(50.0,), (100.0,)], 1e-6)
SHARED = "(high rows 0:9 from 0:23 + low rows 9:14 from 13:32)[0:7) -> high[7:9)"


def test_the_ratio_is_of_neighbours_in_time_and_both_plans_are_told() -> None:
    shared = Found(plan(SHARED, 30.0), [(20.0, 21.0, 22.0), (60.0, 63.0, 66.0)], [(25.0,), (75.0,)], 2e-6)
    found = row("h+m+l", "net", PLAIN, shared)
    assert found["ratio"] == pytest.approx((0.5 + 0.75) / 2)
    assert (found["devices_sharing"], found["blocks_shared"]) == (2, 7)
    assert (found["without_predicted_ms"], found["predicted_ms"]) == (40.0, 30.0)
    assert found["without_in_a_row_ms"] == 75.0
    assert found["max_abs_error"] == 2e-6
    assert found["rounds"] == 2


def test_where_rows_are_not_shared_the_row_says_so() -> None:
    found = row("h+m+l", "net", PLAIN, PLAIN)
    assert (found["devices_sharing"], found["blocks_shared"], found["ratio"]) == (0, 0, 1.0)
