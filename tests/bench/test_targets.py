import pytest

from bench.targets import (
    faster_than_frameworks,
    faster_than_policy,
    latency_near_best,
    near_the_bound,
    paper_latency,
    verdicts,
)


def test_every_target_is_reached_when_every_figure_is_good(results):
    assert {verdict.name: verdict.reached for verdict in verdicts(results) if not verdict.reached} == {}


def test_nothing_measured_is_neither_reached_nor_missed():
    judged = verdicts({"meta": {"experiments": {}, "failures": {}}})
    assert {verdict.reached for verdict in judged} == {None}
    assert all("not measured" in verdict.why for verdict in judged)


def test_the_worst_model_decides_and_is_named(results):
    results["limit"][0]["ratio"] = 0.7
    verdict = near_the_bound(results, "h+m+l", 0.9)
    assert verdict.reached is False
    assert verdict.measured.startswith("0.70 (worst of 4: mobilenet_v2")
    assert "not reached by 1 of 4: mobilenet_v2 0.70" in verdict.why


def test_one_model_is_not_yet_all_of_them(results):
    results["limit"] = results["limit"][:1]
    verdict = near_the_bound(results, "h+m+l", 0.9)
    assert verdict.reached is None
    assert verdict.measured == "0.95"
    assert "not measured: resnet18, squeezenet1_1, efficientnet-lite0" in verdict.why


@pytest.mark.parametrize(("theirs", "reached"), [(50.0, True), (50.1, False)])
def test_twice_as_fast_means_twice(results, theirs, reached):
    for row in results["policies"]:
        if row["policy"] == "amp4ec":
            row["throughput_rps"] = theirs
    assert faster_than_policy(results, "amp4ec", 2.0).reached is reached


def test_the_best_framework_is_the_one_to_beat_and_an_absent_one_is_named(results):
    results["peers"] = [row for row in results["peers"] if row["name"] != "ray-serve"]
    verdict = faster_than_frameworks(results)
    assert verdict.measured.startswith("2.50 x")
    assert verdict.reached is None
    assert "ray-serve" in verdict.why


def test_latency_is_judged_on_every_fleet_by_itself(results):
    results["policies"] += [
        {"fleet": "weak link", "model": "resnet18", "policy": "exact", "throughput_rps": 1.0, "latency_ms": 13.0},
        {"fleet": "weak link", "model": "resnet18", "policy": "heft", "throughput_rps": 1.0, "latency_ms": 10.0},
    ]
    verdict = latency_near_best(results)
    assert verdict.reached is False
    assert "resnet18 on weak link 1.30 x" in verdict.why


def test_the_paper_s_latency_is_told_beside_what_the_hardware_allows(results):
    results["headline"]["paper_way"]["latency_change_pct"] = -60.0
    verdict = paper_latency(results)
    assert (verdict.reached, verdict.measured) == (False, "-60.0 %")
    assert "-82.0 %" in verdict.why


def test_a_row_that_failed_counts_as_not_measured(results):
    results["limit"][0] = {"fleet": "h+m+l", "model": "mobilenet_v2", "failed": "a worker ended"}
    assert near_the_bound(results, "h+m+l", 0.9).reached is None
