import pytest

from bench.rounds_by_plan import Round, Seen, layout, row
from schemas.plan import Plan, Prediction
from schemas.plan_text import parse_route

ALONE = "high[0:9)"
SHARED = "(high rows 0:9 from 0:23 + low rows 9:14 from 13:32)[0:7) -> high[7:9)"
A_ROW_LESS = "(high rows 0:10 from 0:25 + low rows 10:14 from 15:32)[0:7) -> high[7:9)"
FURTHER = "(high rows 0:4 from 0:23 + low rows 4:7 from 13:32)[0:8) -> high[8:9)"


def plan(text: str, latency_ms: float) -> Plan:
    predicted = Prediction(latency_ms=latency_ms, throughput_rps=1.0, energy_j=1.0)
    return Plan(
        deployment="d", generation=1, model="net", card_sha="a" * 64, objective="latency", policy="exact",
        routes=(parse_route(text),), predicted=predicted,
    )  # fmt: skip


def seen(
    text: str, *latencies_ms: float, predicted_ms: float = 30.0, in_a_row_ms: float = 50.0, error: float = 0.0
) -> Seen:
    return Seen(plan(text, predicted_ms), latencies_ms, (in_a_row_ms,), error)


def test_the_ratio_is_of_neighbours_in_time_and_both_plans_are_told() -> None:
    found = row(
        "h+m+l",
        "net",
        [
            Round(seen(ALONE, 40.0, 42.0, 44.0, predicted_ms=40.0), seen(SHARED, 20.0, 21.0, 22.0)),
            Round(seen(ALONE, 80.0, 84.0, 88.0, predicted_ms=40.0, in_a_row_ms=100.0), seen(SHARED, 60.0, 63.0, 66.0)),
        ],
    )
    assert found["ratio"] == pytest.approx((0.5 + 0.75) / 2)
    assert (found["devices_sharing"], found["blocks_shared"]) == (2, 7)
    assert (found["without_predicted_ms"], found["predicted_ms"]) == (40.0, 30.0)
    assert (found["without_in_a_row_ms"], found["in_a_row_ms"]) == (75.0, 50.0)
    assert (found["without_plan"], found["plan"]) == (f"r0: {ALONE}", f"r0: {SHARED}")
    assert (found["rounds"], found["rounds_with_other_plans"], found["other_plans"]) == (2, 0, [])


def test_rounds_with_other_plans_are_told_apart_and_their_figures_are_not_mixed_in() -> None:
    found = row(
        "h+m+l",
        "net",
        [
            Round(seen(ALONE, 40.0), seen(FURTHER, 10.0, error=2e-6)),
            Round(seen(ALONE, 40.0), seen(SHARED, 30.0)),
            Round(seen(ALONE, 50.0), seen(A_ROW_LESS, 40.0)),
        ],
    )
    assert (found["blocks_shared"], found["latency_ms"], found["without_ms"]) == (7, 35.0, 45.0)
    assert found["ratio"] == pytest.approx((0.75 + 0.8) / 2)
    assert (found["rounds"], found["rounds_with_other_plans"]) == (2, 1)
    [other] = found["other_plans"]
    assert (other["layout"], other["without_layout"]) == ("(high + low)[0:8) -> high[8:9)", ALONE)
    assert (other["rounds"], other["latency_ms"], other["ratio"]) == (1, 10.0, 0.25)
    assert found["max_abs_error"] == 2e-6


def test_of_equally_many_rounds_the_earlier_plans_count() -> None:
    found = row("h+m+l", "net", [Round(seen(ALONE, 40.0), seen(text, 30.0)) for text in (FURTHER, SHARED)])
    assert (found["blocks_shared"], found["rounds_with_other_plans"]) == (8, 1)


def test_where_rows_are_not_shared_the_row_says_so() -> None:
    found = row("h+m+l", "net", [Round(seen(ALONE, 40.0), seen(ALONE, 40.0))])
    assert (found["devices_sharing"], found["blocks_shared"], found["ratio"]) == (0, 0, 1.0)


def test_how_many_rows_each_gets_makes_no_other_plan() -> None:
    assert layout(plan(SHARED, 1.0)) == layout(plan(A_ROW_LESS, 1.0)) == "(high + low)[0:7) -> high[7:9)"
