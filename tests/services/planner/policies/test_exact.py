"""The exact planner against the oracle, on hundreds of small cases, and what must hold for any plan."""

import math
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from small_problems import built, cases

from schemas.deployment import Pin
from schemas.plan_text import parse_route
from services.planner.diagnosis import LatencyBoundError, LinkError, NotEnoughMemoryError
from services.planner.errors import PlanningError
from services.planner.facts import HubFacts
from services.planner.flow import objective
from services.planner.line_cost import line_cost
from services.planner.pins import PinError
from services.planner.policies import find_policy
from services.planner.policies.brute_force import all_lines

EXACT, ORACLE = find_policy("exact"), find_policy("brute-force")
MANY = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SOME = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def can_be_served(problem) -> bool:
    """Whether some route keeps memory, pins and links, however long it takes."""
    return any(math.isfinite(line_cost(problem, line).latency_ms) for line in all_lines(problem))


def value(problem, policy) -> float:
    """Of the policy's plan; inf when it finds none."""
    try:
        return objective(problem, policy.plan(problem).predicted)
    except PlanningError:
        return math.inf


@MANY
@given(data=st.data())
def test_exact_gives_what_brute_force_gives(data, make_problem, make_device):
    problem = built(make_problem, data.draw(cases(make_device)))
    assert value(problem, EXACT) == pytest.approx(value(problem, ORACLE), rel=1e-7, abs=1e-9)


@SOME
@given(data=st.data())
def test_no_policy_beats_exact(data, make_problem, make_device):
    problem = built(make_problem, data.draw(cases(make_device)))
    best = value(problem, EXACT)
    for name in ("best-single", "replicas", "even-split"):
        other = value(problem, find_policy(name))
        assert best <= other + 1e-9 * abs(other) if math.isfinite(other) else True


@SOME
@given(data=st.data())
def test_another_device_never_makes_it_worse(data, make_problem, make_device):
    arguments = data.draw(cases(make_device))
    arguments.pop("exclude", None)
    fewer = {**arguments, "devices": arguments["devices"][:-1]}
    assume(fewer["devices"])
    less, more = value(built(make_problem, fewer), EXACT), value(built(make_problem, arguments), EXACT)
    assert more <= less + 1e-9 * abs(less) if math.isfinite(less) else True


@SOME
@given(data=st.data())
def test_every_plan_keeps_all_constraints_and_reads_back_as_printed(data, make_problem, make_device):
    problem = built(make_problem, data.draw(cases(make_device)))
    try:
        choice = EXACT.plan(problem)
    except PlanningError:
        assume(False)
    used = [stage.device for route in choice.routes for stage in route.stages]
    assert len(used) == len(set(used))
    assert not set(used) & set(problem.deployment.exclude)
    assert sum(route.weight for route in choice.routes) == pytest.approx(1)
    budgets = {facts.name: problem.budget_bytes(index) for index, facts in enumerate(problem.devices)}
    for route in choice.routes:
        assert (route.stages[0].first, route.stages[-1].last) == (0, len(problem.card.blocks))
        assert all(before.last == after.first for before, after in pairwise(route.stages))
        parsed = parse_route(str(route))
        assert parsed.stages == route.stages
        for stage in route.stages:
            assert sum(b.weight_bytes for b in problem.card.blocks[stage.first : stage.last]) <= budgets[stage.device]
            for pin in problem.deployment.pins:
                assert stage.device == pin.device or stage.last <= pin.first or stage.first >= pin.last
    if problem.deployment.objective == "throughput" and problem.deployment.latency_bound_ms is not None:
        assert all(route.predicted.latency_ms <= problem.deployment.latency_bound_ms + 1e-6 for route in choice.routes)


@SOME
@given(data=st.data(), hub_mbps=st.sampled_from([0.5, 3.0, 20.0, 100.0]))
def test_under_a_narrow_hub_the_gap_that_is_told_is_true(data, hub_mbps, make_problem, make_device):
    arguments = data.draw(cases(make_device, devices_max=3))
    hub = arguments["hub"]
    narrow = HubFacts(hub.submitter_up_mbps, hub.submitter_down_mbps, hub.hop_ms, hub_mbps)
    problem = built(make_problem, {**arguments, "hub": narrow, "objective": "throughput"})
    best = -value(problem, ORACLE)
    assume(best > 0)
    choice = EXACT.plan(problem)
    reached = choice.predicted.throughput_rps
    assert reached <= best * (1 + 1e-7)
    told = [note for note in choice.notes if "hub's link is the limit" in note]
    bound = float(told[0].rsplit(" ", 1)[1]) + 0.06 if told else reached * (1 + 1e-7)
    assert best <= bound


@MANY
@given(data=st.data())
def test_when_there_is_no_plan_the_error_names_a_constraint_that_is_to_blame(data, make_problem, make_device):
    problem = built(make_problem, data.draw(cases(make_device)))
    if math.isfinite(value(problem, EXACT)):
        assert EXACT.plan(problem).routes
        return
    with pytest.raises((LatencyBoundError, NotEnoughMemoryError, PinError, LinkError)) as raised:
        EXACT.plan(problem)
    assert (raised.type is LatencyBoundError) == can_be_served(problem)
    if raised.type is NotEnoughMemoryError:
        assert can_be_served(problem.without("memory"))
    if raised.type is PinError:
        assert can_be_served(problem.without("pins"))


def test_a_fast_device_behind_a_slow_link_is_left_alone(make_problem, make_device):
    near, far = make_device("near", [10, 10]), make_device("far", [2, 2], mbps=(1, 1))
    problem = make_problem([near, far], [10_000, 10_000, 4])
    assert str(EXACT.plan(problem)) == "r0: near[0:2)"


def test_each_device_gets_the_blocks_it_is_good_at(make_problem, make_device):
    problem = make_problem([make_device("a", [1, 9, 9]), make_device("b", [9, 1, 1])], [4, 4, 4, 4])
    choice = EXACT.plan(problem)
    assert str(choice) == "r0: a[0:1) -> b[1:3)"
    assert choice.predicted.latency_ms == pytest.approx(3)


def test_three_equal_devices_without_room_for_two_copies_work_as_one_line(make_problem, make_device):
    devices = [make_device(name, [10] * 6, budget=20) for name in "abc"]
    problem = make_problem(devices, [4] * 7, weight_bytes=[10] * 6, objective="throughput")
    choice = EXACT.plan(problem)
    assert [stage.last - stage.first for stage in choice.routes[0].stages] == [2, 2, 2]
    assert choice.predicted.throughput_rps == pytest.approx(50)


def test_five_devices_form_the_two_lines_and_the_copy_that_suit_them(make_problem, make_device):
    # e holds all and takes 40 ms; a+b and c+d hold half each, 20 ms a half: 50 + 50 + 25 requests/s.
    halves = [make_device(name, [10] * 4, budget=20) for name in "abcd"]
    problem = make_problem(
        [*halves, make_device("e", [10] * 4)], [4] * 5, weight_bytes=[10] * 4, objective="throughput"
    )
    choice = EXACT.plan(problem)
    assert sorted(len(route.stages) for route in choice.routes) == [1, 2, 2]
    assert choice.predicted.throughput_rps == pytest.approx(125)
    assert choice.label == "replicated pipelines"


def test_of_equally_fast_pipelines_the_one_that_answers_sooner_is_taken(make_problem, make_device):
    # a's second block bounds the pace at 10 ms either way; b is idle enough to take the last block or leave it.
    a, b = make_device("a", [10, 6, 3], budget=10), make_device("b", [50, 5, 5], budget=20)
    problem = make_problem([a, b], [4] * 4, weight_bytes=[10] * 3, objective="throughput")
    assert str(EXACT.plan(problem)) == "r0: a[0:1) -> b[1:3)"
    slow_end = make_problem(
        [a, make_device("b", [50, 5, 5], budget=20), make_device("c", [50, 4, 4], budget=20)],
        [4] * 4, weight_bytes=[10] * 3, objective="throughput",
    )  # fmt: skip
    assert str(EXACT.plan(slow_end)) == "r0: a[0:1) -> c[1:3)"


def test_devices_that_add_nothing_are_not_used(make_problem, make_device):
    # The submitter's link carries 10 requests/s, and one device serves them.
    hub = HubFacts(submitter_up_mbps=8, submitter_down_mbps=1e12)
    devices = [make_device(name, [20, 20 + index]) for index, name in enumerate("abc")]
    choice = EXACT.plan(make_problem(devices, [100_000, 4, 4], hub=hub, objective="throughput"))
    assert str(choice) == "r0: a[0:2)"
    assert any("submitter's link carries 10.0 requests/s" in note for note in choice.notes)


def test_too_little_memory_says_how_much_is_missing_where(make_problem, make_device):
    devices = [make_device("pi", [1, 1], budget=30_000_000), make_device("nano", [1, 1], budget=45_000_000)]
    problem = make_problem(devices, [4, 4, 4], weight_bytes=[50_000_000, 10_000_000])
    with pytest.raises(NotEnoughMemoryError) as raised:
        EXACT.plan(problem)
    assert raised.value.missing_bytes == {"pi": 30_000_000, "nano": 15_000_000}
    assert "needs 60.0 MB in one piece" in str(raised.value)
    assert "pi offers 30.0 MB (30.0 MB missing" in str(raised.value)
    assert "blocks [0:1), which cannot be split, need 50.0 MB" in str(raised.value)


def test_an_impossible_latency_bound_says_what_is_possible(make_problem, make_device):
    problem = make_problem([make_device("a", [30])], [4, 4], objective="throughput", latency_bound_ms=20)
    with pytest.raises(LatencyBoundError, match=r"within 20.0 ms: the quickest, a\[0:1\), takes 30.0 ms"):
        EXACT.plan(problem)


def test_frames_that_the_broker_refuses_are_explained(make_problem, make_device):
    problem = make_problem([make_device("a", [1], max_packet_bytes=2_000_000)], [4_000_000, 4])
    with pytest.raises(LinkError, match=r"a's broker passes packets of 2.0 MB at most.*max_packet_size"):
        EXACT.plan(problem)


def test_pins_on_a_device_that_nothing_reaches_are_named(make_problem, make_device):
    devices = [make_device("camera", [1] * 3, mbps=(0, 0)), make_device("b", [1] * 3)]
    problem = make_problem(devices, [4] * 4, pins=(Pin(device="camera", first=1, last=2),))
    with pytest.raises(PinError, match=r"keeps the pins camera\[1:2\)"):
        EXACT.plan(problem)
    with pytest.raises(LinkError, match=r"camera's link measured 0 Mbit/s"):
        EXACT.plan(make_problem(devices[:1], [4] * 4))
