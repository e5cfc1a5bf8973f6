"""The cost model, against numbers worked out by hand."""

import numpy as np
import pytest

from schemas.deployment import Pin
from services.planner.complete import choose, lines_of, to_plan
from services.planner.facts import HubFacts
from services.planner.flow import TOGETHER, rates_rps, window
from services.planner.line_cost import Placement, line_cost
from services.planner.pins import PinError
from services.planner.usable import NoDeviceError, NoLinkError, StaleProfileError


@pytest.fixture
def two(make_problem, make_device):
    """Slow a, fast b; 1 MB in, 2 MB between, 0.5 MB out; submitter at 100 Mbit/s."""

    def build(**wanted):
        a = make_device("a", [10, 20], mbps=(80, 160), rtt_ms=2, frame_ms=1, frame_ms_per_mb=4, watts=(1, 5))
        b = make_device("b", [5, 10], mbps=(40, 40), rtt_ms=6, frame_ms=0.5, frame_ms_per_mb=2, watts=(2, 10), cores=4)
        hub = HubFacts(submitter_up_mbps=100, submitter_down_mbps=50, hop_ms=3)
        return make_problem([a, b], [1_000_000, 2_000_000, 500_000], hub=hub, **wanted)

    return build


def test_one_device_costs_what_the_formula_says(two):
    problem = two()
    cost = line_cost(problem, (Placement(0, 0, 2),))
    # submitter: hop 3 + 8 Mbit up at 100 = 80 + 4 Mbit down at 50 = 80
    assert problem.submit_ms == pytest.approx(163)
    # device: rtt 2 + 8 Mbit down at 160 = 50 + frame 1 + 4 * 1.5 MB = 7 + compute 30 + 4 Mbit up at 80 = 50
    assert cost.latency_ms == pytest.approx(163 + 2 + 50 + 7 + 30 + 50)
    # One core: frames and blocks share it, 37 ms; the link needs 50 ms each way.
    assert cost.bottleneck_ms == pytest.approx(50)
    # 37 ms at 5 W + 100 ms on the wire at 1 W
    assert cost.energy_j == pytest.approx(0.185 + 0.1)
    assert cost.moved_bytes == 1_500_000


def test_a_pipeline_adds_up_its_stages_and_is_as_slow_as_the_slowest(two):
    problem = two()
    cost = line_cost(problem, (Placement(0, 0, 1), Placement(1, 1, 2)))
    first = 2 + 50 + (1 + 4 * 3) + 10 + 200
    second = 6 + 400 + (0.5 + 2 * 2.5) + 10 + 100
    assert cost.latency_ms == pytest.approx(163 + first + second)
    assert cost.bottleneck_ms == pytest.approx(400)
    assert cost.moved_bytes == 3_500_000


def test_frames_are_handled_beside_the_computation_from_two_cores_on(two):
    problem = two()
    assert problem.service_ms[0, 0, 2] == pytest.approx(30 + 7)
    assert problem.service_ms[1, 0, 2] == pytest.approx(15)


def test_a_codec_shrinks_inner_cuts_only_and_costs_both_ends_time(two):
    problem = two(codec="u8")
    assert problem.wire_bytes.tolist() == [1_000_000, 500_000, 500_000]
    assert problem.codec_ms[0, 0, 1] == pytest.approx(4 * 2)
    assert problem.codec_ms[1, 1, 2] == pytest.approx(2 * 2)
    assert problem.codec_ms[0, 0, 2] == 0
    assert two(codec="fp16+zstd").wire_bytes.tolist() == [1_000_000, 1_000_000, 500_000]
    assert not two().codec_ms.any()


def test_a_half_busy_device_computes_at_half_speed(make_problem, make_device):
    idle = make_problem([make_device("a", [4, 6])], [8, 8, 8])
    busy = make_problem([make_device("a", [4, 6], free_share=0.5)], [8, 8, 8])
    gone = make_problem([make_device("a", [4, 6], free_share=0.0)], [8, 8, 8])
    assert busy.compute_ms[0, 0, 2] == pytest.approx(2 * idle.compute_ms[0, 0, 2])
    assert gone.compute_ms[0, 0, 2] == pytest.approx(20 * idle.compute_ms[0, 0, 2])


def test_memory_pins_packets_and_dead_links_make_stages_infeasible(make_problem, make_device):
    devices = [
        make_device("small", [1, 1, 1], budget=20),
        make_device("limited", [1, 1, 1], budget=100),
        make_device("narrow", [1, 1, 1], max_packet_bytes=20_000),
        make_device("cut-off", [1, 1, 1], mbps=(0, 10)),
        make_device("free", [1, 1, 1]),
    ]
    problem = make_problem(
        devices, [8, 8_000, 8, 8], weight_bytes=[10, 10, 10], memory_limit_bytes={"limited": 10},
        pins=(Pin(device="free", first=2, last=3),),
    )  # fmt: skip
    stages = {(i, j) for i in range(4) for j in range(i + 1, 4)}

    def feasible(device):
        return {(i, j) for i, j in stages if problem.feasible[device, i, j]}

    assert feasible(0) == {(0, 1), (1, 2), (0, 2)}
    assert feasible(1) == {(0, 1), (1, 2)}
    assert feasible(2) == {(0, 2)}
    assert feasible(3) == set()
    assert feasible(4) == stages
    assert np.isinf(problem.latency_ms[~problem.feasible]).all()


def test_lifting_a_term_lifts_only_that_term(two):
    problem = two(pins=(Pin(device="a", first=0, last=1),), memory_limit_bytes={"b": 0})
    assert not problem.feasible[1, 0, 2]
    assert problem.without("pins").feasible[1, 0, 2]
    free = problem.without("link")
    assert line_cost(free, (Placement(0, 0, 2),)).latency_ms == pytest.approx(30)
    assert not free.feasible[1, 0, 2]


def test_excluded_devices_are_not_in_the_problem(two):
    assert [device.name for device in two(exclude=("a",)).devices] == ["b"]
    with pytest.raises(NoDeviceError, match=r"no device can serve d: 2 usable, all excluded: a, b.*stageline join"):
        two(exclude=("a", "b"))


def test_a_profile_of_another_model_is_refused(make_problem, make_device):
    with pytest.raises(StaleProfileError, match="a has profiled 3 blocks of made-up, which has 2"):
        make_problem([make_device("a", [1, 1, 1])], [8, 8, 8])


def test_a_submitter_without_a_link_is_refused(make_problem, make_device):
    with pytest.raises(NoLinkError, match="carries nothing"):
        make_problem([make_device("a", [1])], [8, 8], hub=HubFacts(submitter_up_mbps=0))


@pytest.mark.parametrize(
    ("pins", "says"),
    [
        ([("ghost", 0, 1)], "pinned on ghost, which is not usable now"),
        ([("a", 1, 3)], "beyond the model's 2 blocks"),
        ([("a", 0, 2), ("b", 1, 2)], "block 1 is pinned on both a and b"),
    ],
)
def test_impossible_pins_are_refused_with_the_reason(two, pins, says):
    with pytest.raises(PinError, match=says):
        two(pins=tuple(Pin(device=device, first=first, last=last) for device, first, last in pins))


def test_a_pin_between_two_pins_of_another_device_is_refused(make_problem, make_device):
    devices = [make_device(name, [1, 1, 1]) for name in "ab"]
    pins = (Pin(device="a", first=0, last=1), Pin(device="b", first=1, last=2), Pin(device="a", first=2, last=3))
    with pytest.raises(PinError, match="both sides of a pin on b"):
        make_problem(devices, [8, 8, 8, 8], pins=pins)


def test_routes_share_requests_by_their_rates(make_problem, make_device):
    problem = make_problem([make_device("a", [10]), make_device("b", [30])], [8, 8], objective="throughput")
    choice = choose(problem, [(Placement(0, 0, 1),), (Placement(1, 0, 1),)], "replicas")
    assert [route.weight for route in choice.routes] == pytest.approx([0.75, 0.25])
    assert choice.predicted.throughput_rps == pytest.approx(100 + 100 / 3)
    assert choice.predicted.latency_ms == pytest.approx(0.75 * 10 + 0.25 * 30)
    assert choice.predicted.energy_j == pytest.approx(0.75 * 0.05 + 0.25 * 0.15)


def test_the_submitters_link_caps_the_sum_of_all_rates(make_problem, make_device):
    hub = HubFacts(submitter_up_mbps=8, submitter_down_mbps=1e12)
    devices = [make_device("a", [10]), make_device("b", [30])]
    problem = make_problem(devices, [20_000, 8], hub=hub, objective="throughput")
    costs = [line_cost(problem, (Placement(device, 0, 1),)) for device in (0, 1)]
    assert problem.submit_rps == pytest.approx(50)
    assert rates_rps(problem, costs) == pytest.approx([37.5, 12.5])


def test_the_hubs_link_goes_to_the_routes_that_move_least(make_problem, make_device):
    hub = HubFacts(1e12, 1e12, hub_mbps=8)
    devices = [make_device(name, [5, 5]) for name in "abc"]
    problem = make_problem(devices, [4_000, 40_000, 4_000], hub=hub, objective="throughput")
    whole, split = (Placement(0, 0, 2),), (Placement(1, 0, 1), Placement(2, 1, 2))
    rates = rates_rps(problem, [line_cost(problem, line) for line in (split, whole)])
    # 1 MB/s in all: the whole copy takes 100 * 8 kB, which leaves 200 kB for requests of 48 kB.
    assert rates == pytest.approx([200 / 48, 100])


def test_energy_is_called_measured_only_if_all_of_it_was(make_problem, make_device):
    devices = [make_device("a", [1, 1], measured=True), make_device("b", [1, 1])]
    problem = make_problem(devices, [8, 8, 8])
    one = choose(problem, [(Placement(0, 0, 2),)], "one")
    two = choose(problem, [(Placement(0, 0, 1), Placement(1, 1, 2))], "two")
    assert (one.predicted.energy_method, two.predicted.energy_method) == ("measured", "modelled")


def test_a_choice_becomes_the_plan_that_workers_follow_and_reads_back(two):
    problem = two(codec="u8")
    lines = ((Placement(1, 0, 1), Placement(0, 1, 2)),)
    plan = to_plan(problem, choose(problem, lines, "pipeline"), generation=4, policy="exact")
    assert str(plan) == "r0: b[0:1) -u8-> a[1:2)"
    assert (plan.generation, plan.model, plan.card_sha) == (4, "made-up", problem.card.sha256)
    assert lines_of(problem, plan.routes) == lines
    for stage, said in zip(lines[0], plan.routes[0].stage_predictions, strict=True):
        total = said.down_ms + said.compute_ms + said.frame_ms + said.up_ms + problem.rtt_ms[stage.device]
        assert total == pytest.approx(problem.latency_ms[stage])


def served_per_second(problem, line, in_flight: int, requests: int = 400) -> float:
    """A pipeline of queues, simulated: each stage's down-link, processor and up-link serve one request at a time."""
    servers = []
    for u, i, j in line:
        other = problem.latency_ms[u, i, j] - problem.down_ms[u, i] - problem.service_ms[u, i, j] - problem.up_ms[u, j]
        servers += [(problem.down_ms[u, i], 0.0), (problem.service_ms[u, i, j], other), (problem.up_ms[u, j], 0.0)]
    free = [0.0] * len(servers)
    done: list[float] = []
    for number in range(requests):
        now = done[number - in_flight] if number >= in_flight else 0.0
        for index, (busy_ms, delay_ms) in enumerate(servers):
            free[index] = now = max(now, free[index]) + busy_ms
            now += delay_ms
        done.append(now + problem.submit_ms)
    half = requests // 2
    return 1e3 * half / (done[-1] - done[-1 - half])


def test_the_window_fills_the_pipeline_and_not_more_under_objective_latency(make_problem, make_device):
    devices = [
        make_device("a", [8, 9, 3], mbps=(300, 200), rtt_ms=4, frame_ms=1),
        make_device("b", [5, 9, 12], mbps=(90, 150), rtt_ms=1, frame_ms=2, cores=4),
        make_device("c", [9, 9, 9], mbps=(500, 500), rtt_ms=9, frame_ms=1),
    ]
    for line in [
        (Placement(0, 0, 3),),
        (Placement(0, 0, 1), Placement(1, 1, 3)),
        (Placement(2, 0, 1), Placement(1, 1, 2), Placement(0, 2, 3)),
    ]:
        for objective in ("throughput", "latency"):
            hub = HubFacts(100, 100, hop_ms=2)
            problem = make_problem(devices, [100_000, 150_000, 60_000, 4_000], hub=hub, objective=objective)
            said = choose(problem, [line], "").routes[0]
            assert said.predicted is not None
            rate = served_per_second(problem, line, said.window)
            assert rate == pytest.approx(said.predicted.throughput_rps, rel=0.02)
            if objective == "latency":
                assert said.window <= 2
            else:
                assert rate == pytest.approx(line_cost(problem, line).rate_rps, rel=0.02)


def test_a_latency_bound_keeps_the_window_from_queueing_past_it(make_problem, make_device):
    devices = [make_device(name, [10, 10, 10]) for name in "abc"]
    line = tuple(Placement(u, u, u + 1) for u in range(3))
    free = make_problem(devices, [8] * 4, objective="throughput")
    tight = make_problem(devices, [8] * 4, objective="throughput", latency_bound_ms=40)
    assert window(free, line_cost(free, line)) == 3 + 3 * TOGETHER
    assert window(tight, line_cost(tight, line)) == 4


@pytest.mark.parametrize(
    ("largest_bytes", "work_ms", "wanted", "together"),
    [
        (8, 1, {"objective": "throughput"}, TOGETHER),
        (2_400_000, 1, {"objective": "throughput"}, 2),
        (40_000_000, 1, {"objective": "throughput"}, 1),
        (8, 60, {"objective": "throughput"}, 3),
        (8, 500, {"objective": "throughput"}, 1),
        (8, 1, {"objective": "throughput", "latency_bound_ms": 1e6}, 1),
        (8, 1, {"objective": "latency"}, 1),
    ],
)
def test_frames_are_handled_together_where_only_throughput_counts_and_as_many_as_memory_likes(
    make_problem, make_device, *, largest_bytes: int, work_ms: float, wanted: dict[str, object], together: int
) -> None:
    devices = [make_device("a", [1, work_ms]), make_device("b", [1, work_ms])]
    problem = make_problem(devices, [8, largest_bytes, 8], **wanted)
    line = (Placement(0, 0, 1), Placement(1, 1, 2))
    (route,) = choose(problem, [line], "pipeline").routes
    assert route.together == together
