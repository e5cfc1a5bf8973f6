"""The baselines, the registry, thinned cuts, and fleets too large to be searched exactly."""

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.deployment import Deployment, Pin
from services.planner.cuts import POSITIONS_MAX, thin, wire_bytes
from services.planner.diagnosis import NotEnoughMemoryError
from services.planner.errors import InfeasibleError
from services.planner.facts import HubFacts
from services.planner.partition import best_partitions, parts
from services.planner.policies import POLICIES, UnknownPolicyError, find_policy, policy_names
from stageline.benches.planner import made_up_card, made_up_fleet, run


def plan_text(name, problem) -> str:
    return str(find_policy(name).plan(problem))


def test_policies_are_found_by_name_and_say_where_they_are_from():
    assert [find_policy(name) for name in policy_names()] == list(POLICIES)
    assert {"exact", "best-single", "replicas", "even-split", "brute-force"} <= set(policy_names())
    assert all(policy.citation for policy in POLICIES)


def test_an_unknown_policy_is_answered_with_the_known_ones():
    with pytest.raises(UnknownPolicyError, match=r"no policy 'magic'; there are exact, large-fleet, best-single"):
        find_policy("magic")


def test_best_single_follows_the_objective(make_problem, make_device):
    quick, frugal = make_device("quick", [5, 5], watts=(1, 20)), make_device("frugal", [10, 10], watts=(1, 2))
    assert plan_text("best-single", make_problem([frugal, quick], [4] * 3)) == "r0: quick[0:2)"
    assert plan_text("best-single", make_problem([frugal, quick], [4] * 3, objective="energy")) == "r0: frugal[0:2)"


def test_best_single_says_why_none_will_do(make_problem, make_device):
    devices = [
        make_device("small", [5, 5], budget=10_000_000),
        make_device("slow", [90, 90]),
        make_device("far", [1, 1], mbps=(0, 1)),
    ]
    problem = make_problem(devices, [4] * 3, weight_bytes=[8_000_000] * 2, objective="throughput", latency_bound_ms=100)
    with pytest.raises(InfeasibleError) as raised:
        find_policy("best-single").plan(problem)
    assert "small[0:2) needs 16.0 MB and small offers 10.0 MB" in str(raised.value)
    assert "too slow for the latency bound" in str(raised.value)
    assert "far[0:2): its frames do not pass far's link" in str(raised.value)


def test_replicas_leave_out_devices_that_cannot_hold_a_copy_and_say_so(make_problem, make_device):
    devices = [make_device("a", [5, 5]), make_device("b", [5, 5], budget=9), make_device("c", [15, 15])]
    problem = make_problem(devices, [4] * 3, weight_bytes=[5, 5], objective="throughput")
    choice = find_policy("replicas").plan(problem)
    assert str(choice) == "r0: a[0:2) | r1: c[0:2)"
    assert [route.weight for route in choice.routes] == pytest.approx([0.75, 0.25])
    assert any("b holds no copy: b[0:2) needs" in note for note in choice.notes)


def test_even_split_gives_every_device_the_same_work(make_problem, make_device):
    devices = [make_device(name, [1] * 9) for name in "abc"]
    assert plan_text("even-split", make_problem(devices, [4] * 10)) == "r0: a[0:3) -> b[3:6) -> c[6:9)"
    with_few_blocks = [make_device(name, [1, 1]) for name in "abc"]
    assert plan_text("even-split", make_problem(with_few_blocks, [4] * 3)) == "r0: a[0:1) -> b[1:2)"


def test_even_split_says_which_part_does_not_fit(make_problem, make_device):
    devices = [make_device("a", [1] * 4), make_device("b", [1] * 4, budget=1_000_000)]
    problem = make_problem(devices, [4] * 5, weight_bytes=[1_000_000] * 4)
    with pytest.raises(InfeasibleError, match=r"b\[2:4\) needs 2.0 MB and b offers 1.0 MB"):
        find_policy("even-split").plan(problem)


def test_brute_force_refuses_what_it_could_not_finish(make_problem, make_device):
    devices = [make_device(f"d{index}", [1] * 20) for index in range(6)]
    with pytest.raises(InfeasibleError, match="use --policy exact"):
        find_policy("brute-force").plan(make_problem(devices, [4] * 21))


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=16))
def test_the_best_partition_is_the_best_of_all_partitions(numbers):
    devices = len(numbers).bit_length() - 1
    rate = np.array([0.0, *numbers[1 : 1 << devices]])

    def best(left: int) -> float:
        routes = [T for T in range(1, left + 1) if T & left == T]
        return max([0.0, *(rate[T] + best(left ^ T) for T in routes)])

    found = best_partitions(rate)
    assert found == pytest.approx([best(S) for S in range(len(rate))], abs=1e-6)
    chosen = parts(found, rate, len(rate) - 1)
    assert sum(rate[T] for T in chosen) == pytest.approx(best(len(rate) - 1))
    assert all(one & other == 0 for one, other in combinations(chosen, 2))


def test_all_cuts_are_kept_when_there_are_not_too_many():
    card = made_up_card(POSITIONS_MAX - 2)
    assert len(thin(card, wish(), [])) == POSITIONS_MAX


@pytest.mark.parametrize("cuts", [100, 300])
def test_many_cuts_are_thinned_to_the_cheap_ones_and_pins_stay(cuts):
    card = made_up_card(cuts)
    pins = (Pin(device="a", first=17, last=55),)
    kept = thin(card, wish(pins=pins), []).tolist()
    assert kept == sorted(set(kept))
    assert len(kept) <= POSITIONS_MAX
    assert {0, 17, 55, cuts + 1} <= set(kept)
    work = np.cumsum([0, *(block.macs for block in card.blocks)]) / card.macs
    for dropped in set(range(1, cuts)) - set(kept):
        cheaper = [p for p in kept if card.cuts[p].nbytes <= card.cuts[dropped].nbytes]
        assert min(abs(work[p] - work[dropped]) for p in cheaper) < 0.05


def test_bytes_on_the_wire_follow_the_codec_for_floats_only(make_card):
    cut = make_card([4_000, 8]).cuts[0]
    assert [wire_bytes(cut, codec) for codec in ("fp32", "fp16", "u8", "u8+zstd")] == [4_000, 2_000, 1_000, 1_000]
    ints = cut.model_copy(update={"tensors": (cut.tensors[0].model_copy(update={"dtype": "int64"}),)})
    assert wire_bytes(ints, "u8") == 8_000


def wish(**wanted) -> Deployment:
    return Deployment(deployment="d", model="made-up", **wanted)


def fleet_of(make_device, count, **kind):
    return [make_device(f"d{index}", [5 + index % 7] * 8, rtt_ms=1, mbps=(100, 100), **kind) for index in range(count)]


def test_fifty_devices_all_work_for_throughput(make_problem, make_device):
    problem = make_problem(fleet_of(make_device, 50), [1000] * 9, objective="throughput")
    choice = find_policy("exact").plan(problem)
    assert len({stage.device for route in choice.routes for stage in route.stages}) == 50
    replicas = find_policy("replicas").plan(problem)
    assert choice.predicted.throughput_rps >= replicas.predicted.throughput_rps * (1 - 1e-9)
    assert any("50 devices" in note for note in choice.notes)


@pytest.mark.parametrize("objective", ["latency", "throughput", "energy", "cost"])
def test_fifty_devices_too_small_for_groups_still_find_a_line(objective, make_problem, make_device):
    devices = [make_device(f"d{index}", [5] * 24, budget=1) for index in range(49)]
    devices.append(make_device("camera", [5] * 24, budget=1))
    problem = make_problem(
        devices, [1000] * 25, weight_bytes=[1] * 24, objective=objective, pins=(Pin(device="camera", first=0, last=1),)
    )
    choice = find_policy("exact").plan(problem)
    assert len(choice.routes[0].stages) == 24
    assert choice.routes[0].stages[0].device == "camera"
    assert all(before.last == after.first for before, after in pairwise(choice.routes[0].stages))


def test_a_large_fleet_that_is_too_small_says_so(make_problem, make_device):
    problem = make_problem(fleet_of(make_device, 12, budget=1), [1000] * 9, weight_bytes=[2] * 8)
    with pytest.raises(NotEnoughMemoryError, match="no device has room"):
        find_policy("exact").plan(problem)


def test_a_large_fleet_keeps_to_the_submitters_link(make_problem, make_device):
    hub = HubFacts(submitter_up_mbps=0.8, submitter_down_mbps=100)
    problem = make_problem(fleet_of(make_device, 30), [4_000] + [1000] * 8, hub=hub, objective="throughput")
    choice = find_policy("exact").plan(problem)
    assert choice.predicted.throughput_rps == pytest.approx(25)
    assert len(choice.routes) <= 2


def test_the_planner_bench_measures_what_it_says():
    result = run(quick=True)
    assert result["exact_ms"] == max(case["exact_ms"] for case in result["cases"] if case["latency_bound_ms"] is None)
    assert {(case["devices"], case["cuts"]) for case in result["cases"]} == {(8, 50)}
    assert math.isfinite(result["bounded_ms"])
    assert len({device.profile.block_ms for device in made_up_fleet(made_up_card(50), 8, 1)}) == 8
