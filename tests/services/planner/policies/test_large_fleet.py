"""Routes of neighbours, what they are held against, and what plans of hundreds of devices must keep to."""

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from models.runtime import stage_memory_bytes
from schemas.deployment import Deployment, Pin
from schemas.plan import PLAN_ROUTES
from services.planner.bound import compute_bound_rps, rates_of, stage_bound_rps
from services.planner.complete import lines_of
from services.planner.cost import problem_from
from services.planner.cuts import STAGES_MAX, thin
from services.planner.errors import InfeasibleError, PlanningError
from services.planner.explain import explain
from services.planner.facts import HubFacts
from services.planner.line_cost import in_bound, line_cost
from services.planner.policies import find_policy
from services.planner.search import chain
from services.planner.windows import STAGE_PRICE, best_windows, window_bottlenecks, window_line
from stageline.benches.planner import made_up_card, made_up_fleet

LARGE, EXACT, ORACLE = find_policy("large-fleet"), find_policy("exact"), find_policy("brute-force")
SOME = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SLOW_ENOUGH = st.floats(1, 50)


@st.composite
def fleets(draw, make_device, sizes, *, alike=False):
    """Devices of any speed, memory and link; `alike`: they differ by one factor for all blocks."""
    blocks = draw(st.integers(2, 5))
    count = draw(sizes)
    shape = draw(st.lists(SLOW_ENOUGH, min_size=blocks, max_size=blocks))
    devices = []
    for index in range(count):
        slowness = draw(st.floats(0.5, 4))
        times = shape if alike else draw(st.lists(SLOW_ENOUGH, min_size=blocks, max_size=blocks))
        devices.append(
            make_device(
                f"d{index}",
                [slowness * ms for ms in times],
                mbps=(draw(st.sampled_from([1e12, 50.0])), draw(st.sampled_from([1e12, 50.0]))),
                rtt_ms=draw(st.integers(0, 3)),
                budget=draw(st.integers(5, 10 * blocks)),
            )
        )
    sizes_bytes = [4 * draw(st.integers(1, 20_000)) for _ in range(blocks + 1)]
    bound = draw(st.sampled_from([None, None, 60.0, 150.0]))
    return {
        "devices": devices, "cut_bytes": sizes_bytes, "weight_bytes": [5] * blocks, "objective": "throughput",
        "latency_bound_ms": bound,
    }  # fmt: skip


def planned(policy, problem):
    """The policy's plan, or no example where it finds none."""
    try:
        return policy.plan(problem)
    except PlanningError:
        assume(False)


def made_up(devices, share, **wanted):
    """A made-up fleet that has `share` of the model's memory on each device; the submitter's link is no limit."""
    card = made_up_card(24)
    budget = round(share * stage_memory_bytes(card, 0, len(card.blocks)))
    wish = Deployment(deployment="d", model=card.name, **{"objective": "throughput", **wanted})
    return problem_from(card, wish, made_up_fleet(card, devices, budget), HubFacts(1e9, 1e9))


def test_equally_fast_devices_share_a_route_where_none_can_hold_the_model(make_problem, make_device):
    # Two fast ones hold half each: 20 ms a half, 50 requests/s, three times; two slow ones 25, three times. A fast one
    # with a slow one would give 25, as slow as two slow ones.
    fleet = [make_device(f"d{index}", [10 if index % 2 else 20] * 4, budget=20) for index in range(12)]
    choice = LARGE.plan(make_problem(fleet, [4] * 5, weight_bytes=[10] * 4, objective="throughput"))
    assert choice.predicted.throughput_rps == pytest.approx(225)
    assert choice.bound_rps == pytest.approx(6 / 0.040 + 6 / 0.080)
    pairs = [{int(name[1:]) % 2 for name in route.devices} for route in choice.routes]
    assert sorted(map(len, pairs)) == [1] * 6
    assert choice.notes == (
        "12 devices: not proved best; 0.0 % below the 225.0 requests/s of all devices computing all the time over "
        "free links",
    )


def test_forty_equal_devices_form_thirteen_lines_of_three_and_one_is_spare(make_problem, make_device):
    fleet = [make_device(f"d{index}", [10] * 6, budget=20) for index in range(40)]
    choice = LARGE.plan(make_problem(fleet, [4] * 7, weight_bytes=[10] * 6, objective="throughput"))
    assert choice.predicted.throughput_rps == pytest.approx(13 * 50)
    assert {len(route.stages) for route in choice.routes} == {3}
    assert choice.bound_rps == pytest.approx(40 / 0.060)


def test_what_memory_forbids_is_told_beside_the_bound_of_free_links(make_problem, make_device):
    # Eleven of twelve hold the first block only, so one route is all there can be.
    fleet = [make_device("roomy", [10, 10], budget=20)]
    fleet += [make_device(f"d{index}", [10, 10], budget=10) for index in range(11)]
    choice = LARGE.plan(make_problem(fleet, [4] * 3, weight_bytes=[10, 20], objective="throughput"))
    assert choice.predicted.throughput_rps == pytest.approx(100)
    assert choice.bound_rps == pytest.approx(600)
    assert "83.3 % below the 600.0 requests/s" in choice.notes[0]
    assert choice.notes[0].endswith("below the 100.0 that their memory and links allow")


@SOME
@given(data=st.data())
def test_no_plan_passes_what_memory_and_links_allow(data, make_problem, make_device):
    problem = make_problem(**data.draw(fleets(make_device, st.integers(1, 4))))
    best = planned(EXACT, problem).predicted.throughput_rps
    assert best <= stage_bound_rps(problem) * (1 + 1e-9)


@SOME
@given(data=st.data())
def test_devices_that_differ_by_one_factor_cannot_do_more_than_compute_all_the_time(data, make_problem, make_device):
    problem = make_problem(**data.draw(fleets(make_device, st.integers(1, 14), alike=True)))
    choice = planned(EXACT, problem)
    assert choice.predicted.throughput_rps <= compute_bound_rps(problem) * (1 + 1e-9)


@SOME
@given(data=st.data())
def test_large_fleet_plans_are_feasible_and_never_better_than_exact(data, make_problem, make_device):
    problem = make_problem(**data.draw(fleets(make_device, st.integers(1, 7))))
    choice = planned(LARGE, problem)
    lines = lines_of(problem, choice.routes)
    assert all(in_bound(problem, line_cost(problem, line)) for line in lines)
    used = [stage.device for line in lines for stage in line]
    assert len(used) == len(set(used))
    assert choice.predicted.throughput_rps <= EXACT.plan(problem).predicted.throughput_rps * (1 + 1e-9)


@pytest.mark.parametrize("share", [2.0, 0.8, 0.5])
@pytest.mark.parametrize("devices", [4, 8])
def test_large_fleet_comes_within_a_tenth_of_exact_where_both_can_plan(devices, share):
    problem = made_up(devices, share)
    best = EXACT.plan(problem).predicted.throughput_rps
    assert LARGE.plan(problem).predicted.throughput_rps >= 0.9 * best


@pytest.mark.parametrize("share", [2.0, 0.5])
def test_a_hundred_unequal_devices_come_within_a_tenth_of_the_bound(share):
    problem = made_up(100, share)
    choice = LARGE.plan(problem)
    assert choice.predicted.throughput_rps >= 0.9 * choice.bound_rps
    assert str(EXACT.plan(problem)) == str(choice) == str(LARGE.plan(problem))


@pytest.mark.parametrize("objective", ["latency", "energy", "cost"])
@pytest.mark.parametrize("share", [2.0, 0.6])
def test_one_route_of_a_large_fleet_is_as_good_as_that_of_its_best_ten(objective, share):
    problem = made_up(60, share, objective=objective)
    choice = LARGE.plan(problem)
    assert len(choice.routes) == 1
    assert choice.bound_rps is None
    few = EXACT.plan(problem.only(range(10)))
    reached = {"latency": "latency_ms", "energy": "energy_j"}.get(objective)
    if reached:
        assert getattr(choice.predicted, reached) <= getattr(few.predicted, reached) * (1 + 1e-9)


def test_under_a_latency_bound_slow_devices_work_beside_fast_ones():
    problem = made_up(24, 2.0, latency_bound_ms=100.0)
    choice = LARGE.plan(problem)
    assert all(route.predicted.latency_ms <= 100 * (1 + 1e-9) for route in choice.routes)
    copies = find_policy("replicas").plan(problem)
    assert choice.predicted.throughput_rps > 1.2 * copies.predicted.throughput_rps


def test_why_a_plan_for_hundreds_of_devices_is_as_it_is_fits_a_message_with_the_gap_in_it(make_problem, make_device):
    problem = made_up(200, 0.5)
    choice = LARGE.plan(problem)
    why = explain(problem, choice, LARGE)
    assert "more routes. Note: 200 devices: not proved best" in why.explanation
    assert why.explanation.endswith("of all devices computing all the time over free links.")
    fleet = [make_device(f"d{index}", [10] * 2) for index in range(30)]
    copies = make_problem(fleet, [4] * 3, objective="throughput")
    assert " and 22 more give 1500.0 requests/s" in explain(copies, EXACT.plan(copies), EXACT).explanation


def test_in_a_large_fleet_a_pin_leaves_one_route_through_the_pinned_device():
    problem = made_up(40, 2.0)
    pinned = Deployment(
        deployment="d", model="made-up", objective="throughput", pins=(Pin(device="device-39", first=0, last=2),)
    )
    choice = LARGE.plan(problem_from(problem.card, pinned, problem.devices, problem.hub))
    assert len(choice.routes) == 1
    assert choice.routes[0].stages[0].device == "device-39"
    alone = 1e3 / float(problem.bottleneck_ms[39, 0, -1])
    assert choice.predicted.throughput_rps > 2 * alone


def test_a_plan_names_as_many_routes_as_its_message_holds_the_fastest_ones(make_problem, make_device):
    fleet = [make_device(f"d{index}", [1 + index]) for index in range(PLAN_ROUTES + 6)]
    choice = find_policy("replicas").plan(make_problem(fleet, [4, 4], objective="throughput"))
    assert len(choice.routes) == PLAN_ROUTES
    assert {route.devices[0] for route in choice.routes} == {f"d{index}" for index in range(PLAN_ROUTES)}
    assert any("the 6 slowest routes are left out" in note for note in choice.notes)


def test_a_route_of_more_stages_than_a_frame_can_pass_is_refused(make_problem, make_device):
    fleet = [make_device(f"d{index}", [1] * 70) for index in range(70)]
    pins = tuple(Pin(device=f"d{index}", first=index, last=index + 1) for index in range(70))
    problem = make_problem(fleet, [4] * 71, pins=pins)
    with pytest.raises(InfeasibleError, match="a route of 70 stages, and a frame can pass 64 at most"):
        find_policy("even-split").plan(problem)


def test_a_thousand_devices_are_planned_with_fewer_cuts():
    card = made_up_card(60)
    times = [[1.0] * len(card.blocks)] * 1000
    kept = thin(card, Deployment(deployment="d", model="made-up"), times)
    assert len(kept) ** 2 * 1000 <= STAGES_MAX
    assert {0, len(card.blocks)} <= set(kept.tolist())


@SOME
@given(data=st.data())
def test_a_window_is_as_fast_as_the_best_chain_over_its_devices(data, make_problem, make_device):
    problem = make_problem(**{**data.draw(fleets(make_device, st.integers(2, 6))), "latency_bound_ms": None})
    order = np.array(data.draw(st.permutations(range(len(problem.devices)))))
    found = window_bottlenecks(problem, order, len(order))
    for start, end in combinations(range(len(order) + 1), 2):
        line = chain(problem, order[start:end].tolist())
        expected = math.inf if line is None else line_cost(problem, line).bottleneck_ms
        assert found[start, end - start] == pytest.approx(expected)
        if line is not None:
            settled = line_cost(problem, window_line(problem, order[start:end], found[start, end - start]))
            assert settled.bottleneck_ms == pytest.approx(expected)
            assert settled.latency_ms <= line_cost(problem, line).latency_ms * (1 + 1e-9)


@SOME
@given(st.integers(1, 7), st.data())
def test_the_best_windows_are_the_best_of_all_ways_of_cutting_the_line(devices, data):
    values = st.sampled_from([math.inf, 10.0, 20.0, 35.0, 80.0])
    bottlenecks = np.full((devices, devices + 1), math.inf)
    for start, end in combinations(range(devices + 1), 2):
        bottlenecks[start, end - start] = data.draw(values)

    def best(start: int) -> float:
        if start == devices:
            return 0.0
        worth = [
            float(rates_of(bottlenecks[start, length])) * (1 - STAGE_PRICE * (length - 1)) + best(start + length)
            for length in range(1, devices - start + 1)
        ]
        return max(best(start + 1), *worth)

    total, windows = best_windows(bottlenecks)
    assert total == pytest.approx(best(0))
    assert all(one.start + one.length <= two.start for one, two in pairwise(windows))
    assert sum(
        float(rates_of(bottlenecks[window])) * (1 - STAGE_PRICE * (window.length - 1)) for window in windows
    ) == pytest.approx(total)
