import pytest

from bench.targets import verdicts
from bench.targets.paper import paper_latency
from bench.targets.speed import faster_than_frameworks, faster_than_policy, latency_near_best, near_the_bound


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
    assert faster_than_policy(results, ("amp4ec",), 2.0).reached is reached


def test_the_better_one_of_a_policy_s_variants_is_the_one_to_beat(results):
    results["policies"].append({**results["policies"][1], "policy": "amp4ec-plain", "throughput_rps": 80.0})
    verdict = faster_than_policy(results, ("amp4ec", "amp4ec-plain"), 2.0)
    assert verdict.measured.startswith("1.25 x (worst of 4: mobilenet_v2")


def test_of_our_own_policies_the_default_counts_and_not_the_luckier_one(results):
    results["policies"].append({**results["policies"][0], "policy": "large-fleet", "throughput_rps": 1000.0})
    assert "best 2.50 x" in faster_than_policy(results, ("amp4ec",), 2.0).measured


def test_where_some_rounds_failed_nothing_is_reached(results):
    results["policies"][0]["failed"] = "no answer in time"
    verdict = faster_than_policy(results, ("amp4ec",), 2.0)
    assert verdict.reached is None
    assert "exact with mobilenet_v2 (some failed)" in verdict.why


def test_the_best_framework_is_the_one_to_beat_and_an_absent_one_is_named(results):
    results["peers"] = [row for row in results["peers"] if row["name"] != "ray-serve"]
    verdict = faster_than_frameworks(results)
    assert verdict.measured.startswith("2.50 x")
    assert verdict.reached is None
    assert "ray-serve" in verdict.why


def test_ray_serve_counts_in_whichever_way_it_is_faster(results):
    results["peers"][-1]["throughput_rps"] = 60.0
    verdict = faster_than_frameworks(results)
    assert (verdict.reached, verdict.measured) == (False, "1.67 x")


def test_a_framework_that_is_missing_for_one_model_only_is_named_with_it(results):
    results["peers"] += [{**row, "model": "resnet18"} for row in results["peers"] if row["name"] != "torch-rpc"]
    verdict = faster_than_frameworks(results)
    assert verdict.reached is None
    assert "torch-rpc with resnet18" in verdict.why


def test_whole_copies_stand_beside_what_is_compared(results):
    results["policies"].append({**results["policies"][0], "policy": "replicas", "throughput_rps": 125.0})
    results["peers"].append({**results["peers"][0], "name": "onnxruntime-replicas", "throughput_rps": 110.0})
    assert "plain replicas, the control: mobilenet_v2 0.80 x" in faster_than_policy(results, ("amp4ec",), 2.0).why
    assert "added up, is no more than this over theirs: mobilenet_v2 2.50 x" in (
        faster_than_policy(results, ("amp4ec",), 2.0).why
    )
    assert "the control: mobilenet_v2 0.91 x" in faster_than_frameworks(results).why


def test_one_round_and_a_change_of_plan_are_told_beside_the_figure(results):
    results["limit"][0] |= {"rounds": 1, "replanned": True}
    why = near_the_bound(results, "h+m+l", 0.9).why
    assert "of one round" in why
    assert "another plan took over while it was measured: mobilenet_v2" in why


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, True, "0.95", None])
def test_what_is_no_finite_number_is_no_figure(results, value):
    results["limit"][0]["ratio"] = value
    assert near_the_bound(results, "h+m+l", 0.9).reached is None


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
