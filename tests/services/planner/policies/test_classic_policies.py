"""Neurosurgeon, DADS, PipeEdge and HEFT: cases worked out by hand, and all plans of their kind as oracles."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from small_problems import mbps, ms, problems

from schemas.deployment import Deployment, Pin
from schemas.model import Cut, TensorSpec
from services.planner.block_times import block_times
from services.planner.complete import lines_of
from services.planner.cost import problem_from
from services.planner.diagnosis import LatencyBoundError, LinkError, NotEnoughMemoryError
from services.planner.errors import InfeasibleError, PlanningError
from services.planner.facts import HubFacts
from services.planner.flow import objective, predict
from services.planner.line_cost import in_bound, line_cost
from services.planner.one_route import EXACT_DEVICES
from services.planner.pins import PinError
from services.planner.policies.brute_force import all_lines
from services.planner.policies.dads import Dads, lifetimes
from services.planner.policies.exact import Exact
from services.planner.policies.heft import Heft, by_rank, upward_ranks
from services.planner.policies.neurosurgeon import Neurosurgeon
from services.planner.policies.pipe_edge import PipeEdge

SOME = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CLASSIC = [Neurosurgeon(), Dads(), PipeEdge(), Heft()]
OBJECTIVES = ["latency", "throughput", "energy", "cost"]


def values(problem, lines) -> list[float]:
    """Of each route alone that can be used, by the problem's objective."""
    costs = [line_cost(problem, line) for line in lines]
    return [objective(problem, predict(problem, [cost])) for cost in costs if in_bound(problem, cost)]


def value(problem, policy) -> float:
    """Of the policy's plan; inf when it finds none."""
    try:
        return objective(problem, policy.plan(problem).predicted)
    except PlanningError:
        return math.inf


def latency(problem, policy) -> float:
    try:
        return policy.plan(problem).predicted.latency_ms
    except PlanningError:
        return math.inf


def pi_and_server(make_problem, make_device, **wanted):
    """1000 kB in, 100 kB after the first block, 400 kB after the second, 4 B out; 8 Mbit/s either way: 1 ms per kB."""
    pi = make_device("pi", [20, 60, 60], mbps=(8, 8), watts=(1, 5))
    server = make_device("server", [2, 6, 6], mbps=(8, 8), watts=(2, 40))
    return make_problem([pi, server], [1_000_000, 100_000, 400_000, 4], **wanted)


def test_neurosurgeon_splits_where_device_link_and_server_add_up_to_least(make_problem, make_device):
    # The input goes to either in 1000 ms. All on the server: 14. After one block: 20 + 200 + 12. All on the pi: 140.
    choice = Neurosurgeon().plan(pi_and_server(make_problem, make_device))
    assert str(choice) == "r0: server[0:3)"
    # A camera holds the input: its way down is free, and nobody else's is.
    camera = make_device("camera", [20, 60, 60], mbps=(8, 1e12))
    server = make_device("server", [2, 6, 6], mbps=(8, 8))
    choice = Neurosurgeon().plan(make_problem([camera, server], [1_000_000, 50_000, 400_000, 4]))
    # On the server 1000 + 14; on the camera 140; split after one block 20 + 50 up + 50 down + 12.
    assert str(choice) == "r0: camera[0:1) -> server[1:3)"
    assert choice.predicted.latency_ms == pytest.approx(20 + 50 + 50 + 12, rel=1e-3)


def test_neurosurgeon_for_energy_counts_both_devices(make_problem, make_device):
    # The pi computes at 5 W, the server at 40 W but ten times as fast: 0.7 J against 0.56 J, and 1 or 2 W for 1 s down.
    choice = Neurosurgeon().plan(pi_and_server(make_problem, make_device, objective="energy"))
    assert str(choice) == "r0: pi[0:3)"
    assert choice.predicted.energy_j == pytest.approx(0.14 * 5 + 1.0 * 1, rel=1e-3)


def test_neurosurgeon_says_that_throughput_is_not_what_it_plans_for(make_problem, make_device):
    devices = [make_device("a", [10, 10]), make_device("b", [11, 11])]
    choice = Neurosurgeon().plan(make_problem(devices, [4] * 3, objective="throughput"))
    assert str(choice) == "r0: a[0:2)"
    assert choice.notes == ("Neurosurgeon minimises latency, whatever the throughput",)


@SOME
@given(data=st.data())
def test_neurosurgeon_is_the_best_of_all_routes_of_one_or_two_stages(data, make_problem, make_device):
    problem = data.draw(problems(make_problem, make_device, ("latency", "energy", "cost")))
    reachable = [line for line in all_lines(problem) if len(line) <= 2]
    assert value(problem, Neurosurgeon()) == pytest.approx(min(values(problem, reachable), default=math.inf), rel=1e-7)


@SOME
@given(data=st.data())
def test_dads_under_light_load_is_neurosurgeon_on_a_chain(data, make_problem, make_device):
    problem = data.draw(problems(make_problem, make_device, ("latency",)))
    assert latency(problem, Dads()) == pytest.approx(latency(problem, Neurosurgeon()), rel=1e-6, abs=1e-4)


@SOME
@given(data=st.data())
def test_dads_under_heavy_load_has_the_least_bottleneck_of_one_or_two_stages(data, make_problem, make_device):
    problem = data.draw(problems(make_problem, make_device, ("throughput",)))
    reachable = [line for line in all_lines(problem) if len(line) <= 2]
    assert value(problem, Dads()) == pytest.approx(min(values(problem, reachable), default=math.inf), rel=1e-7)


def test_dads_prefers_the_narrow_cut_for_latency_and_the_even_one_for_throughput(make_problem, make_device):
    # The camera holds the input; cuts of 8 kB and 40 kB take 1 and 5 ms each way at 64 Mbit/s.
    camera = make_device("camera", [10, 30, 30], mbps=(64, 1e12))
    server = make_device("server", [6, 18, 18], mbps=(64, 64))
    sizes = [8_000_000, 8_000, 40_000, 4]
    light = Dads().plan(make_problem([camera, server], sizes))
    # After one block 10 + 1 + 1 + 36 = 48; after two 40 + 5 + 5 + 18 = 68; never 70; the server alone needs a second.
    assert str(light) == "r0: camera[0:1) -> server[1:3)"
    assert light.predicted.latency_ms == pytest.approx(48, rel=1e-3)
    heavy = Dads().plan(make_problem([camera, server], sizes, objective="throughput"))
    # After one block max(10, 1, 36); after two max(40, 5, 18).
    assert str(heavy) == "r0: camera[0:1) -> server[1:3)"
    assert heavy.predicted.throughput_rps == pytest.approx(1000 / 36)
    slower = make_device("server", [6, 30, 22], mbps=(64, 64))
    heavy = Dads().plan(make_problem([camera, slower], sizes, objective="throughput"))
    assert str(heavy) == "r0: camera[0:2) -> server[2:3)"


def test_dads_under_heavy_load_keeps_the_latency_bound(make_problem, make_device):
    camera = make_device("camera", [10, 30, 30], mbps=(64, 1e12))
    server = make_device("server", [6, 30, 22], mbps=(64, 64))
    bound = {"objective": "throughput", "latency_bound_ms": 65}
    # The even cut would take 40 + 10 + 22 = 72 ms; after one block it is 10 + 2 + 52 = 64.
    choice = Dads().plan(make_problem([camera, server], [8_000_000, 8_000, 40_000, 4], **bound))
    assert str(choice) == "r0: camera[0:1) -> server[1:3)"


def branching(make_card, sizes):
    """A card whose cuts carry the named tensors, in bytes."""
    plain = make_card([4] * len(sizes))
    cuts = [
        Cut(tensors=tuple(TensorSpec(name=name, dtype="float32", shape=(1, size // 4)) for name, size in cut.items()))
        for cut in sizes
    ]
    return plain.model_copy(update={"cuts": tuple(cuts)})


def test_dads_pays_for_a_tensor_that_several_blocks_read_once(make_card, make_device):
    # x is read by block 1 and again by block 3: it is alive at cuts 1 to 3, and crosses only where the cut is.
    card = branching(make_card, [{"in": 8_000_000}, {"x": 8_000}, {"x": 8_000, "y": 800}, {"x": 8_000}, {"out": 4}])
    camera = make_device("camera", [5, 5, 5, 50], mbps=(64, 1e12))
    server = make_device("server", [9, 9, 2, 2], mbps=(64, 64))
    problem = problem_from(card, Deployment(deployment="d", model="made-up"), [camera, server], HubFacts(1e12, 1e12))
    choice = Dads().plan(problem)
    # Cut 1: 5 + 2 + 13 = 20; cut 2: 10 + 2.2 + 4 = 16.2; cut 3: 15 + 2 + 2 = 19.
    assert str(choice) == "r0: camera[0:2) -> server[2:4)"
    assert choice.predicted.latency_ms == pytest.approx(16.2, rel=1e-3)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), codec=st.sampled_from(["fp32", "u8"]))
def test_dads_adds_up_like_the_cost_model_on_branching_models(data, codec, make_card, make_device):
    blocks = data.draw(st.integers(2, 6))
    spans = data.draw(
        st.lists(
            st.tuples(st.integers(0, blocks), st.integers(0, blocks), st.integers(1, 50_000)), min_size=1, max_size=8
        )
    )
    sizes = [{f"own{p}": 40} for p in range(blocks + 1)]
    for number, (one, other, items) in enumerate(spans):
        for position in range(min(one, other), max(one, other) + 1):
            sizes[position][f"t{number}"] = 4 * items
    devices = [
        make_device(name, data.draw(st.lists(ms, min_size=blocks, max_size=blocks)),
                    mbps=(data.draw(mbps), data.draw(mbps)), rtt_ms=data.draw(st.integers(0, 4)), frame_ms=1,
                    frame_ms_per_mb=data.draw(st.sampled_from([0.0, 30.0])))
        for name in "abc"
    ]  # fmt: skip
    wish = Deployment(deployment="d", model="made-up", codec=codec)
    problem = problem_from(branching(make_card, sizes), wish, devices, HubFacts(100, 100))
    assert latency(problem, Dads()) == pytest.approx(latency(problem, Neurosurgeon()), rel=1e-6, abs=1e-4)


def test_a_tensor_lives_from_the_first_cut_that_holds_it_to_the_last(make_card):
    card = branching(make_card, [{"in": 4}, {"in": 4, "x": 8}, {"x": 8, "y": 4}, {"out": 4}])
    found = {(tensor.name, first, last) for tensor, first, last in lifetimes(card.cuts)}
    assert found == {("in", 0, 1), ("x", 1, 2), ("y", 2, 2), ("out", 3, 3)}


def test_dads_and_neurosurgeon_use_two_devices_where_exact_needs_three_and_say_so(make_problem, make_device):
    devices = [make_device(name, [10] * 3, budget=10) for name in "abc"]
    problem = make_problem(devices, [4] * 4, weight_bytes=[10] * 3)
    for policy in (Neurosurgeon(), Dads()):
        with pytest.raises(InfeasibleError, match=r"by one device or two in a row, though a\[0:1\) -> b\[1:2\) -> c"):
            policy.plan(problem)
    assert len(PipeEdge().plan(problem).routes[0].stages) == 3


def test_pipe_edge_balances_one_pipeline_and_never_replicates(make_problem, make_device):
    # Replicas would serve 3 * 1000/60; one pipeline over all three is as fast here, and only that is looked at.
    devices = [make_device("a", [10] * 6), make_device("b", [10] * 6), make_device("c", [10] * 6)]
    choice = PipeEdge().plan(make_problem(devices, [4] * 7, objective="throughput"))
    assert len(choice.routes) == 1
    assert [stage.last - stage.first for stage in choice.routes[0].stages] == [2, 2, 2]
    assert choice.predicted.throughput_rps == pytest.approx(50)
    # The middle block is half of the work: two devices are as good as three, and 60 ms the best there is.
    lumpy = [make_device(name, [15, 60, 15]) for name in "abc"]
    choice = PipeEdge().plan(make_problem(lumpy, [4] * 4, objective="throughput"))
    assert choice.predicted.throughput_rps == pytest.approx(1000 / 60)


@SOME
@given(data=st.data())
def test_pipe_edge_is_the_best_of_all_single_routes(data, make_problem, make_device):
    problem = data.draw(problems(make_problem, make_device))
    assert value(problem, PipeEdge()) == pytest.approx(
        min(values(problem, all_lines(problem)), default=math.inf), rel=1e-7
    )


def test_pipe_edge_plans_with_promising_devices_of_a_large_fleet_and_says_so(make_problem, make_device):
    fleet = EXACT_DEVICES + 2
    devices = [make_device(f"d{index}", [20 - index] * 12) for index in range(fleet)]
    choice = PipeEdge().plan(make_problem(devices, [4] * 13, objective="throughput"))
    assert choice.notes == (f"planned with {EXACT_DEVICES} promising ones of {fleet} devices",)
    assert not {"d0", "d1"} & set(choice.routes[0].devices)
    roomy = [make_device(f"d{index}", [20 - index] * 12, budget=12 if index < 2 else 1) for index in range(fleet)]
    choice = PipeEdge().plan(make_problem(roomy, [4] * 13, weight_bytes=[1] * 12))
    assert {"d0", "d1"} & set(choice.routes[0].devices)
    small = [make_device(f"d{index}", [20 - index] * 12, budget=1) for index in range(fleet)]
    with pytest.raises(InfeasibleError, match=r"a pipeline of 10 promising devices, though d"):
        PipeEdge().plan(make_problem(small, [4] * 13, weight_bytes=[1] * 12))


def test_upward_ranks_add_mean_work_and_mean_transfers_up_to_the_end():
    ranks = upward_ranks(np.array([[2.0, 4, 6], [4, 4, 10]]), np.array([[1.0, 2], [3, 4]]))
    assert ranks.tolist() == [3 + 2 + 4 + 3 + 8, 4 + 3 + 8, 8]


def test_heft_gives_each_block_to_the_device_that_has_it_done_first(make_problem, make_device):
    # a does block 0 in 4, b in 6. Block 1: on a at 4 + 9 = 13; on b at 4 + (1 + 1 half hops) + 5 = 11, so it moves.
    # Block 2: on b 11 + 3 = 14; c would have it at 11 + 2 + 2 = 15.
    a, b, c = (
        make_device(name, blocks, rtt_ms=2) for name, blocks in {"a": [4, 9, 9], "b": [6, 5, 3], "c": [9, 9, 2]}.items()
    )
    problem = make_problem([a, b, c], [4] * 4)
    assert by_rank(block_times(problem)) == [0, 1, 2]
    choice = Heft().plan(problem)
    assert str(choice) == "r0: a[0:1) -> b[1:3)"
    assert choice.predicted.latency_ms == pytest.approx(4 + 5 + 3 + 2 * 2)


def test_heft_does_not_see_what_the_way_back_costs(make_problem, make_device):
    # a would be the better throughout: b is quicker at the last block by 1 ms, and then sends 2000 ms.
    a, b = make_device("a", [5, 5]), make_device("b", [9, 4], mbps=(4, 1e12))
    problem = make_problem([a, b], [4, 4, 1_000_000])
    assert str(Heft().plan(problem)) == "r0: a[0:1) -> b[1:2)"
    assert str(Exact().plan(problem)) == "r0: a[0:2)"


def test_heft_never_returns_to_a_device_it_has_left(make_problem, make_device):
    devices = [make_device("a", [1, 9, 1]), make_device("b", [9, 1, 2])]
    assert str(Heft().plan(make_problem(devices, [4] * 4))) == "r0: a[0:1) -> b[1:3)"


def test_heft_moves_on_when_memory_is_used_up_and_says_when_there_is_none_left(make_problem, make_device):
    devices = [make_device("a", [1] * 4, budget=20), make_device("b", [2] * 4, budget=20)]
    problem = make_problem(devices, [4] * 5, weight_bytes=[10] * 4)
    assert str(Heft().plan(problem)) == "r0: a[0:2) -> b[2:4)"
    # b is quicker at the first block and has room for one only; then a has not enough for the other three.
    devices = [make_device("a", [2] * 4, budget=20_000_000), make_device("b", [1, 9, 9, 9], budget=20_000_000)]
    problem = make_problem(devices, [4] * 5, weight_bytes=[10_000_000] * 4)
    with pytest.raises(
        InfeasibleError, match=r"after b\[0:1\) -> a\[1:3\): a\[1:4\) needs 30.0 MB and a offers 20.0 MB.*policy exact"
    ):
        Heft().plan(problem)
    assert Exact().plan(problem).routes


def test_heft_stays_on_a_device_until_its_pins_are_done(make_problem, make_device):
    camera, fast = make_device("camera", [10] * 4), make_device("fast", [1] * 4)
    pinned = make_problem([camera, fast], [4] * 5, pins=(Pin(device="camera", first=0, last=2),))
    assert str(Heft().plan(pinned)) == "r0: camera[0:2) -> fast[2:4)"
    late = make_problem([camera, fast], [4] * 5, pins=(Pin(device="camera", first=2, last=3),))
    assert str(Heft().plan(late)) == "r0: fast[0:2) -> camera[2:4)"


def test_heft_says_when_its_route_is_too_slow_for_the_latency_bound(make_problem, make_device):
    a, b = make_device("a", [5, 5]), make_device("b", [9, 4], mbps=(4, 1e12))
    bound = {"objective": "throughput", "latency_bound_ms": 20}
    with pytest.raises(InfeasibleError, match=r"which takes 2009.0 ms, though a\[0:2\) could"):
        Heft().plan(make_problem([a, b], [4, 4, 1_000_000], **bound))


@SOME
@given(data=st.data())
def test_every_classic_plan_is_one_that_the_fleet_can_run_and_none_beats_exact(data, make_problem, make_device):
    problem = data.draw(problems(make_problem, make_device))
    best = value(problem, Exact())
    found = 0
    for policy in CLASSIC:
        try:
            choice = policy.plan(problem)
        except PlanningError:
            continue
        found += 1
        lines = lines_of(problem, choice.routes)
        used = [stage.device for line in lines for stage in line]
        assert len(used) == len(set(used))
        assert all(problem.feasible[stage] for line in lines for stage in line)
        assert all(in_bound(problem, line_cost(problem, line)) for line in lines)
        reached = objective(problem, choice.predicted)
        assert best <= reached + 1e-9 * max(1, abs(reached))
    assume(found)


@pytest.mark.parametrize("policy", CLASSIC, ids=lambda policy: policy.name)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_no_policy_could_do_is_explained_as_everywhere(policy, objective, make_problem, make_device):
    def wish(*devices, cuts=(4, 4, 4), **wanted):
        return make_problem(devices, cuts, objective=objective, **wanted)

    with pytest.raises(NotEnoughMemoryError, match="no device has room"):
        policy.plan(wish(make_device("a", [1, 1], budget=1), weight_bytes=[2, 2]))
    with pytest.raises(LinkError, match="0 Mbit/s"):
        policy.plan(wish(make_device("a", [1, 1], mbps=(0, 1))))
    camera = make_device("camera", [1, 1], mbps=(0, 0))
    with pytest.raises(PinError, match="keeps the pins"):
        policy.plan(wish(camera, make_device("b", [1, 1]), pins=(Pin(device="camera", first=0, last=1),)))


@pytest.mark.parametrize("policy", CLASSIC, ids=lambda policy: policy.name)
def test_a_latency_bound_that_nothing_keeps_is_told_with_what_is_possible(policy, make_problem, make_device):
    problem = make_problem([make_device("a", [30])], [4, 4], objective="throughput", latency_bound_ms=20)
    with pytest.raises(LatencyBoundError, match=r"a\[0:1\), takes 30.0 ms"):
        policy.plan(problem)
