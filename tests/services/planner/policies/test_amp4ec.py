"""AMP4EC, CarbonEdge and dispatch by given shares, as policies: by hand, and for any small problem."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.deployment import Pin
from schemas.plan import Plan
from schemas.plan_text import parse_route
from services.planner.complete import lines_of, to_plan
from services.planner.errors import InfeasibleError
from services.planner.facts import HubFacts
from services.planner.flow import predict, shared_rates_rps
from services.planner.line_cost import line_cost
from services.planner.policies import find_policy

NAMES = (
    "amp4ec", "amp4ec-plain", "carbon-edge", "carbon-edge-performance", "carbon-edge-green", "nsa-replicas",
    "round-robin",
)  # fmt: skip
PARTS = NAMES[:5]


@pytest.fixture
def hml(make_device):
    """AMP4EC's low, high and medium profile, each as quick as it has cores."""

    def make(blocks: int):
        sizes = {"l": (0.4, 512), "h": (1.0, 1024), "m": (0.6, 512)}
        return [
            make_device(name, [1 / cores] * blocks, cores=cores, budget=megabytes << 20)
            for name, (cores, megabytes) in sizes.items()
        ]

    return make


@pytest.mark.parametrize("name", NAMES)
def test_every_one_is_found_by_name_and_its_plan_survives_the_bus(name, hml, make_problem):
    problem = make_problem(hml(10), [400] * 11, objective="throughput")
    policy = find_policy(name)
    assert policy.name == name
    assert "arXiv" in policy.citation or name == "round-robin"
    choice = policy.plan(problem)
    plan = to_plan(problem, choice, generation=1, policy=name)
    back = Plan.model_validate_json(plan.model_dump_json())
    assert back == plan
    assert [parse_route(str(route)).stages for route in back.routes] == [route.stages for route in plan.routes]
    assert sum(len(line) for line in lines_of(problem, back.routes)) == 3
    assert sum(route.weight for route in back.routes) == pytest.approx(1.0)


def test_parts_are_sized_by_capability_and_the_largest_goes_to_the_strongest(hml, make_problem):
    # Targets 5000, 2800 and 2200 of 10 blocks of 1000: the second part overshoots its target.
    choice = find_policy("amp4ec").plan(make_problem(hml(10), [4] * 11))
    assert str(choice) == "r0: h[0:5) -> m[5:8) -> l[8:10)"
    assert choice.label == "AMP4EC parts"


def test_plain_parts_have_the_same_target(hml, make_problem):
    choice = find_policy("amp4ec-plain").plan(make_problem(hml(10), [4] * 11))
    assert str(choice) == "r0: h[0:4) -> m[4:8) -> l[8:10)"


def test_costs_of_layers_and_not_real_work_are_divided(hml, make_problem):
    problem = make_problem(hml(4), [4] * 5, layer_cost=[1, 1, 1, 97])
    assert str(find_policy("amp4ec").plan(problem)) == "r0: h[0:4)"


def test_the_weights_decide_who_gets_the_first_part(make_problem, make_device):
    # S_R differs by 0.5, S_P by 0.75: 0.2 and 0.1 favour the large node, 0.25 and 0.30 the quick one.
    devices = [make_device("large", [1500, 1500], cores=2), make_device("quick", [0, 0])]
    problem = make_problem(devices, [4] * 3, weight_bytes=[1 << 38] * 2)
    assert str(find_policy("amp4ec").plan(problem)) == "r0: large[0:2)"
    assert str(find_policy("carbon-edge-performance").plan(problem)) == "r0: quick[0:2)"


def test_a_part_that_no_node_can_hold_is_named_with_every_reason(make_problem, make_device):
    devices = [make_device("a", [1] * 4, budget=9_000_000), make_device("b", [1] * 4, budget=1_000_000)]
    problem = make_problem(devices, [4] * 5, weight_bytes=[1_000_000] * 4)
    with pytest.raises(InfeasibleError) as raised:
        find_policy("amp4ec-plain").plan(problem)
    assert "no node for the part [2:4): a holds a part already; b[2:4) needs 2.0 MB and b offers 1.0 MB" in str(
        raised.value
    )
    assert "use --policy exact" in str(raised.value)


def test_busy_and_distant_devices_get_nothing(make_problem, make_device):
    devices = [make_device("busy", [1] * 4, free_share=0.1), make_device("far", [1] * 4, rtt_ms=300)]
    with pytest.raises(InfeasibleError, match=r"busy is 90% busy, more than 80%; far is 300 ms away"):
        find_policy("amp4ec").plan(make_problem(devices, [4] * 5))
    with pytest.raises(InfeasibleError, match=r"busy is 90% busy, more than 80%; far is 300 ms away"):
        find_policy("nsa-replicas").plan(make_problem(devices, [4] * 5))
    with_one_more = make_problem([*devices, make_device("free", [1] * 4)], [4] * 5)
    assert str(find_policy("amp4ec").plan(with_one_more)) == "r0: free[0:4)"
    choice = find_policy("nsa-replicas").plan(with_one_more)
    assert str(choice) == "r0: free[0:4)"
    assert "far is 300 ms away, more than 100 ms" in choice.notes


def test_the_latency_bound_counts(hml, make_problem):
    problem = make_problem(hml(10), [4] * 11, objective="throughput", latency_bound_ms=3)
    with pytest.raises(InfeasibleError, match=r"h\[0:5\) -> m\[5:8\) -> l\[8:10\) takes longer than the latency bound"):
        find_policy("carbon-edge").plan(problem)


def test_a_card_without_layer_costs_must_be_imported_again(hml, make_problem):
    with pytest.raises(InfeasibleError, match=r"the card of made-up says no layer costs.*import the model again"):
        find_policy("amp4ec").plan(make_problem(hml(2), [4] * 3, layer_cost=[0, 0]))


def test_a_pinned_part_goes_where_it_is_pinned(hml, make_problem):
    problem = make_problem(hml(10), [4] * 11, pins=(Pin(device="l", first=0, last=1),))
    assert str(find_policy("amp4ec").plan(problem)) == "r0: l[0:5) -> h[5:8) -> m[8:10)"


def test_in_turn_the_slowest_copy_sets_the_pace(make_problem, make_device):
    devices = [make_device("a", [5, 5]), make_device("b", [15, 15]), make_device("c", [1, 1], budget=9)]
    problem = make_problem(devices, [4] * 3, weight_bytes=[5, 5], objective="throughput")
    choice = find_policy("round-robin").plan(problem)
    assert [route.weight for route in choice.routes] == [0.5, 0.5]
    assert choice.predicted.throughput_rps == pytest.approx(2 * 1000 / 30)
    assert choice.predicted.latency_ms == pytest.approx(20)
    assert any("c holds no copy" in note for note in choice.notes)


def test_dispatch_by_nsa_shares_requests_by_score(make_problem, make_device):
    devices = [
        make_device("a", [500, 500], cores=1.0, budget=400),
        make_device("b", [500, 500], cores=0.5, budget=200),
    ]
    problem = make_problem(devices, [4] * 3, weight_bytes=[50, 50], objective="throughput")
    choice = find_policy("nsa-replicas").plan(problem)
    # S_R = (1/0.5 + 400/100) / 2 = 3 and (1 + 2) / 2 = 1.5; S_L = S_B = 1 and S_P = 1/2 for both.
    a, b = 0.2 * 3 + 0.2 + 0.05 + 0.5, 0.2 * 1.5 + 0.2 + 0.05 + 0.5
    assert [route.weight for route in choice.routes] == pytest.approx([a / (a + b), b / (a + b)])
    assert choice.predicted.throughput_rps == pytest.approx(1.0 / (a / (a + b)))
    assert choice.predicted.throughput_rps < find_policy("replicas").plan(problem).predicted.throughput_rps


@pytest.mark.parametrize("name", ["round-robin", "nsa-replicas"])
def test_without_room_for_one_copy_it_says_so(name, make_problem, make_device):
    problem = make_problem([make_device("a", [1, 1], budget=9)], [4] * 3, weight_bytes=[5, 5])
    with pytest.raises(InfeasibleError, match=r"no device can serve a whole copy: a\[0:2\) needs"):
        find_policy(name).plan(problem)


def test_given_shares_keep_to_the_links_that_all_share(make_problem, make_device):
    devices = [make_device("a", [1, 1]), make_device("b", [1, 1])]
    for hub, expected in [
        (HubFacts(1e12, 1e12, hub_mbps=0.8), 50),  # 100 kB/s over 2 kB a request
        (HubFacts(submitter_up_mbps=0.8, submitter_down_mbps=1e12), 100),  # 100 kB/s over 1 kB
    ]:
        problem = make_problem(devices, [1000] * 3, hub=hub, objective="throughput")
        assert find_policy("round-robin").plan(problem).predicted.throughput_rps == pytest.approx(expected)


@st.composite
def problems(draw, make_problem, make_device):
    blocks = draw(st.integers(1, 8))
    devices = [
        make_device(
            f"d{index}",
            draw(st.lists(st.floats(0.1, 50), min_size=blocks, max_size=blocks)),
            cores=draw(st.floats(0.05, 8)),
            budget=draw(st.integers(1 << 20, 1 << 32)),
            free_share=draw(st.floats(0.25, 1)),
        )
        for index in range(draw(st.integers(1, 5)))
    ]
    costs = draw(st.lists(st.integers(1, 10**9), min_size=blocks, max_size=blocks))
    objective = draw(st.sampled_from(["latency", "throughput", "energy"]))
    return make_problem(devices, [400] * (blocks + 1), layer_cost=costs, objective=objective)


@settings(deadline=None)
@given(data=st.data())
def test_any_plan_covers_all_blocks_once_with_every_device_in_it_once(data, make_problem, make_device):
    problem = data.draw(problems(make_problem, make_device))
    for name in PARTS:
        (route,) = find_policy(name).plan(problem).routes
        assert route.stages[-1].last == len(problem.card.blocks)
        assert len(set(route.devices)) == len(route.stages) <= len(problem.devices)


@settings(deadline=None)
@given(data=st.data())
def test_given_shares_are_kept_and_never_beat_sharing_by_speed(data, make_problem, make_device):
    problem = data.draw(problems(make_problem, make_device))
    choice = find_policy("replicas").plan(problem)
    costs = [line_cost(problem, line) for line in lines_of(problem, choice.routes)]
    shares = data.draw(st.lists(st.floats(0.01, 10), min_size=len(costs), max_size=len(costs)))
    rates = shared_rates_rps(problem, costs, shares)
    assert rates == pytest.approx([sum(rates) * share / sum(shares) for share in shares])
    assert sum(rates) <= predict(problem, costs).throughput_rps * (1 + 1e-9)
