"""What is compared is what was meant, and adapting wins only where it does."""

from __future__ import annotations

import pytest

from bench.adaptive.figures import figures, over_time, verdict
from bench.adaptive.loads import Asked


def asked(due_s: float, latency_ms: float, **fields: object) -> Asked:
    return Asked(due_s, due_s + latency_ms / 1000, latency_ms, **fields)  # type: ignore[arg-type]


def test_percentiles_are_over_all_requests_and_throughput_over_answers_in_time() -> None:
    some = [asked(number, 100.0, energy_j=0.5, energy_method="modelled") for number in range(9)]
    found = figures([*some, asked(9.0, 2000.0, energy_j=0.5, energy_method="modelled")], 10.0, lost=0)
    assert (found["p50_ms"], found["submitted"], found["answered"]) == (100.0, 10, 10)
    assert found["p99_ms"] > 1000
    assert found["throughput_rps"] == 0.9
    assert (found["energy_j"], found["energy_method"]) == (0.5, "modelled")


def test_failures_count_with_their_time_and_reason_and_lost_ones_are_told() -> None:
    found = figures([asked(0.0, 10.0), asked(1.0, 30_000.0, failed="deadline"), asked(2, 10, right=False)], 10.0, 1)
    assert found["failed"] == {"deadline": 1}
    assert (found["submitted"], found["answered"], found["lost"], found["wrong"]) == (4, 2, 1, 1)
    assert found["p99_ms"] > 20_000


def test_joules_of_different_methods_are_what_the_weakest_says() -> None:
    both = [asked(0, 1, energy_method="measured"), asked(1, 1, energy_method="modelled")]
    assert figures(both, 10.0, 0)["energy_method"] == "modelled"
    assert figures([], 10.0, 0)["energy_j"] is None


def run(p95_ms: float, throughput_rps: float, **fields: object) -> dict[str, object]:
    rest = {"lost": 0, "wrong": 0, "failed": {}, "answered": 1}
    return {"p95_ms": p95_ms, "throughput_rps": throughput_rps, **rest, **fields}


@pytest.mark.parametrize(
    ("adaptive", "reached"),
    [(run(79, 100), True), (run(81, 100), False), (run(200, 121), True), (run(90, 110), False)],
    ids=["quicker", "not quick enough", "faster", "neither"],
)
def test_adapting_must_beat_the_best_plan_that_stays(adaptive: dict[str, object], reached: bool) -> None:
    found = verdict({"adaptive": adaptive, "static-exact": run(100, 50), "static-replicas": run(300, 100)})
    assert found is not None
    assert found["reached"] is reached
    assert (found["p95_against"], found["throughput_against"]) == ("static-exact", "static-replicas")
    assert found["sound"]


def test_a_win_with_wrong_or_lost_answers_is_not_sound() -> None:
    both = {"adaptive": run(10, 100, lost=1), "static-exact": run(100, 100)}
    found = verdict(both)
    assert found is not None
    assert not found["sound"]


def test_there_is_no_verdict_without_both_sides() -> None:
    assert verdict({"adaptive": run(1, 1)}) is None
    assert verdict({"static-exact": run(1, 1)}) is None
    assert verdict({"adaptive": run(1, 1, answered=0), "static-exact": run(1, 1)}) is None


def test_over_time_latency_belongs_to_when_a_request_was_due_and_answers_to_when_they_came() -> None:
    found = over_time([asked(0.5, 3000.0), asked(1.0, 10.0), asked(5.0, 9000.0, failed="deadline")], 8.0, 2.0)
    assert found["throughput_rps"] == [0.5, 0.5, 0.0, 0.0]
    assert found["p95_ms"][0] > 2000
    assert found["p95_ms"][1] != found["p95_ms"][1]
    assert found["p95_ms"][2] == 9000.0
