"""Every decision says in plain words, with figures, why it is as it is."""

import re

import pytest

from schemas.deployment import Decision, Pin
from services.planner.explain import explain
from services.planner.facts import HubFacts
from services.planner.policies import find_policy


def told(problem, policy="exact"):
    planner = find_policy(policy)
    return explain(problem, planner.plan(problem), planner)


def by_label(explanation):
    return {alternative.label: alternative for alternative in explanation.alternatives}


def test_a_split_that_would_cost_more_than_it_saves_is_refused_in_figures(make_problem, make_device):
    # b runs the second block 12 ms faster; getting it there costs 41 ms.
    a, b = make_device("pi4", [10, 20]), make_device("nano", [40, 8], mbps=(1e12, 8), rtt_ms=1)
    problem = make_problem([a, b], [4, 40_000, 4])
    explanation = told(problem)
    assert explanation.decided_by == "link"
    assert explanation.explanation == (
        "Not split: the best split (pi4[0:1) -> nano[1:2)) saves 12.0 ms of compute and its links and frames cost "
        "41.0 ms more. If links and frames cost nothing it would be r0: pi4[0:1) -> nano[1:2)."
    )
    assert by_label(explanation)["best pipeline"].reason == "29.0 ms slower"


@pytest.mark.parametrize("hop_ms", [4.0, 4.04, 4.06])
def test_a_split_that_saves_on_links_too_is_told_without_negative_costs(hop_ms, make_problem, make_device):
    # Only b answers quickly, only a is asked quickly: the split takes the good end of each.
    a = make_device("a", [10, 30.04], mbps=(8, 1e12), rtt_ms=hop_ms)
    b = make_device("b", [30, 10], mbps=(1e12, 8), rtt_ms=1)
    problem = make_problem([a, b], [40_000, 4, 40_000])
    explanation = told(problem)
    text = explanation.explanation
    assert text.startswith("Split: ")
    assert "-" not in re.sub("->", "", text)
    takes = [float(one) for one in re.findall(r"takes ([0-9.]+) ms", text)]
    compute, links = (float(one) for one in re.findall(r"saves ([0-9.]+) ms", text))
    assert compute + links == pytest.approx(takes[1] - takes[0])


def test_without_gain_from_a_split_compute_decides(make_problem, make_device):
    problem = make_problem([make_device("a", [10, 10]), make_device("b", [12, 12], rtt_ms=3)], [4] * 3)
    explanation = told(problem)
    assert explanation.decided_by == "compute"
    assert "computes 2.0 ms longer" in explanation.explanation


def test_memory_that_forces_a_split_is_named_with_what_each_device_lacks(make_problem, make_device):
    devices = [make_device(name, [10] * 4, budget=20_000_000, rtt_ms=1) for name in "ab"]
    explanation = told(make_problem(devices, [4] * 5, weight_bytes=[10_000_000] * 4))
    assert explanation.decided_by == "memory"
    assert "a[0:4) needs 40.0 MB and a offers 20.0 MB" in explanation.explanation
    assert explanation.explanation.endswith("With unlimited memory it would be r0: a[0:4).")
    single = by_label(explanation)["best single device"]
    assert not single.feasible
    assert single.predicted is None


def test_a_pin_that_forces_a_split_is_named(make_problem, make_device):
    camera, server = make_device("camera", [10, 90], rtt_ms=1), make_device("server", [1, 2], rtt_ms=1)
    problem = make_problem([camera, server], [4] * 3, pins=(Pin(device="camera", first=0, last=1),))
    explanation = told(problem)
    assert explanation.decided_by == "pins"
    assert explanation.explanation.startswith("Split: the plan takes 14.0 ms; the best single device (camera[0:2))")
    both = make_problem(
        [camera, server], [4] * 3, pins=(Pin(device="camera", first=0, last=1), Pin(device="server", first=1, last=2))
    )
    assert "Split because of pins ([0:1) on camera, [1:2) on server)" in told(both).explanation


def test_a_pipeline_that_wins_shows_what_copies_would_have_given(make_problem, make_device):
    a, b = make_device("a", [5, 40]), make_device("b", [40, 5])
    explanation = told(make_problem([a, b], [4] * 3, objective="throughput"))
    assert explanation.decided_by == "compute"
    assert explanation.explanation == (
        "Split: the plan gives 200.0 requests/s; the best single device (a[0:2)) gives 22.2 requests/s, "
        "whole copies on 2 devices give 44.4 requests/s."
    )
    assert by_label(explanation)["replicas"].reason == "155.6 requests/s fewer"


def test_copies_that_win_show_what_holds_the_pipeline_up(make_problem, make_device):
    devices = [make_device(name, [10, 10], mbps=(8, 1e12)) for name in "ab"]
    explanation = told(make_problem(devices, [4, 30_000, 4], objective="throughput"))
    assert explanation.decided_by in ("link", "compute")
    assert "Not split: whole copies on a and b give 100.0 requests/s" in explanation.explanation
    assert "held up by a[0:1), whose link needs 30.0 ms for each request" in explanation.explanation


@pytest.mark.parametrize("objective", ["energy", "cost"])
def test_other_objectives_are_told_in_their_own_units(objective, make_problem, make_device):
    devices = [make_device("a", [10, 10]), make_device("b", [20, 20], rtt_ms=4)]
    explanation = told(make_problem(devices, [4, 400_000, 4], objective=objective))
    unit = "uses 0.100 J" if objective == "energy" else "costs 0.0600 (20.0 ms, 0.100 J)"
    assert f"a alone {unit}" in explanation.explanation


def test_one_device_leaves_nothing_to_decide(make_problem, make_device):
    explanation = told(make_problem([make_device("a", [1, 1])], [4] * 3))
    assert explanation.decided_by == "none"
    assert explanation.explanation == "Not split: there is only one device."


def test_a_policy_that_misses_the_better_plan_is_told_so(make_problem, make_device):
    a, b = make_device("a", [5, 40]), make_device("b", [40, 5], rtt_ms=1)
    problem = make_problem([a, b], [4] * 3)
    assert "Not split, by policy best-single, though the best split" in told(problem, "best-single").explanation
    equal = make_problem([make_device("a", [5, 5]), make_device("b", [9, 9])], [4] * 3)
    assert "Split, by policy even-split, though the best single device" in told(equal, "even-split").explanation


def test_a_shared_limit_is_in_the_notes(make_problem, make_device):
    hub = HubFacts(1e12, 1e12, hub_mbps=0.8)
    devices = [make_device(name, [10, 10]) for name in "ab"]
    explanation = told(make_problem(devices, [4_000, 4, 1_000], hub=hub, objective="throughput"))
    assert "the hub's link is the limit: 20.0 requests/s, 0.0 % below the bound of 20.0" in explanation.explanation


def test_explanations_of_large_fleets_fit_a_decision(make_problem, make_device):
    long = "a-device-with-a-rather-long-name-as-people-give-them"
    devices = [make_device(f"{long}-{index}", [5, 6, 7], budget=20, rtt_ms=1) for index in range(60)]
    problem = make_problem(devices, [4] * 4, weight_bytes=[10] * 3, objective="throughput")
    planner = find_policy("exact")
    choice = planner.plan(problem)
    explanation = explain(problem, choice, planner)
    assert "; and 56 more" in explanation.explanation
    assert Decision(
        deployment="d", generation=1, requested=0.0, state="preparing", alternatives=explanation.alternatives,
        decided_by=explanation.decided_by, explanation=explanation.explanation,
    )  # fmt: skip
