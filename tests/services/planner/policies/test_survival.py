"""Costs under exits are the mean over requests that leave at each of them, and over those that leave nowhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.deployment import Deployment, Pin
from schemas.model import Exit, ModelCard
from schemas.plan import ExitRule
from services.planner.complete import choose, to_plan
from services.planner.cost import Problem, problem_from
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.flow import objective
from services.planner.line_cost import Line, Placement, line_cost
from services.planner.policies import POLICIES, find_policy
from services.planner.stage_times import transfer_ms
from services.planner.survival import SURVIVAL_MIN, survival

NO_HUB = HubFacts(submitter_up_mbps=1e12, submitter_down_mbps=1e12)


def with_exits(card: ModelCard, blocks: Sequence[int], macs: int = 0) -> ModelCard:
    """The card with an exit after each of these blocks."""
    exits = tuple(
        Exit(
            name=f"exit{number}", block=block, threshold=0.5, macs=macs,
            output=card.outputs[0].model_copy(update={"name": f"head{number}"}),
        )
        for number, block in enumerate(blocks, 1)
    )  # fmt: skip
    return ModelCard.model_validate({**dict(card), "exits": exits})


def rules(card: ModelCard, shares: Sequence[float]) -> tuple[ExitRule, ...]:
    return tuple(
        ExitRule(name=one.name, block=one.block, threshold=one.threshold, share=share)
        for one, share in zip(card.exits, shares, strict=True)
    )


def test_survival_is_what_has_not_left_and_is_never_nothing(make_card: Callable[..., ModelCard]) -> None:
    card = with_exits(make_card([4] * 6), [1, 3])
    some = survival(card, rules(card, [0.5, 0.25]))
    np.testing.assert_allclose(some.crossing, [1, 1, 0.5, 0.5, 0.25, 0.25])
    np.testing.assert_allclose(some.work, [1, 1, 0.5, 0.5, 0.25])
    everybody = survival(card, rules(card, [1.0, 0.0]))
    np.testing.assert_allclose(everybody.crossing[2:], SURVIVAL_MIN)
    np.testing.assert_array_equal(survival(card, ()).crossing, np.ones(6))


def test_only_open_heads_are_computed(make_card: Callable[..., ModelCard]) -> None:
    card = with_exits(make_card([4] * 4), [0, 1], macs=200_000)  # of blocks of 1,000,000
    first, second = rules(card, [0.0, 0.0])
    np.testing.assert_allclose(survival(card, [first]).work, [1.25, 1, 1])
    np.testing.assert_allclose(survival(card, [first, second]).work, [1.25, 1.25, 1])


@st.composite
def lines_with_exits(draw):
    blocks = draw(st.integers(2, 6))
    exits = sorted(draw(st.sets(st.integers(0, blocks - 2), min_size=1, max_size=3)))
    parts = draw(st.lists(st.integers(1, 30), min_size=len(exits) + 1, max_size=len(exits) + 1))
    shares = [part / sum(parts) for part in parts][:-1]
    cuts = sorted(draw(st.sets(st.integers(1, blocks - 1), max_size=2)))
    devices = [
        {
            "block_ms": draw(st.lists(st.integers(0, 20), min_size=blocks, max_size=blocks)),
            "mbps": (draw(st.sampled_from([1e12, 50.0, 3.0])), draw(st.sampled_from([1e12, 80.0]))),
            "rtt_ms": draw(st.integers(0, 8)),
            "frame_ms": draw(st.integers(0, 2)),
            "frame_ms_per_mb": draw(st.sampled_from([0.0, 100.0])),
        }
        for _ in range(len(cuts) + 1)
    ]
    sizes = [4 * draw(st.integers(1, 50_000)) for _ in range(blocks + 1)]
    return blocks, exits, shares, cuts, devices, sizes, draw(st.sampled_from(["fp32", "u8"]))


@given(lines_with_exits())
def test_a_lines_costs_are_the_mean_over_what_becomes_of_requests(make_card, make_device, drawn) -> None:
    blocks, exits, shares, cuts, devices, sizes, codec = drawn
    card = with_exits(make_card(sizes), exits)
    facts = [make_device(name, **one) for name, one in zip("abc", devices, strict=False)]
    wish = Deployment(deployment="d", model="made-up", codec=codec)
    problem = problem_from(card, wish, facts, NO_HUB, exits=rules(card, shares))
    borders = [0, *cuts, blocks]
    line = tuple(Placement(device, *border) for device, border in enumerate(pairwise(borders)))

    chances = [*shares, 1 - sum(shares)]
    outcomes = [alone(problem, line, exit_) for exit_ in [*exits, None]]
    cost = line_cost(problem, line)
    latency, *busy = (
        sum(p * value for p, value in zip(chances, values, strict=True)) for values in zip(*outcomes, strict=True)
    )
    assert cost.latency_ms - problem.submit_ms == pytest.approx(latency, rel=1e-6, abs=1e-6)
    for stage, mean in zip(line, busy, strict=True):
        assert float(problem.service_ms[stage]) == pytest.approx(mean, rel=1e-6, abs=1e-6)


@settings(max_examples=60)
@given(lines_with_exits(), st.sampled_from(["latency", "throughput", "energy", "cost"]))
def test_exact_is_as_good_as_brute_force_under_exits(make_card, make_device, drawn, objective_: str) -> None:
    _, exits, shares, _, devices, sizes, codec = drawn
    card = with_exits(make_card(sizes), exits)
    facts = [make_device(name, **one) for name, one in zip("abc", devices, strict=False)]
    wish = Deployment(deployment="d", model="made-up", codec=codec, objective=objective_)
    problem = problem_from(card, wish, facts, NO_HUB, exits=rules(card, shares))
    best, oracle = (objective(problem, find_policy(name).plan(problem).predicted) for name in ("exact", "brute-force"))
    assert best == pytest.approx(oracle, rel=1e-6, abs=1e-9)


def alone(problem: Problem, line: Line, left: int | None) -> tuple[float, ...]:
    """Latency of one request that leaves after block `left`, then how long it keeps the device of each stage busy."""
    latency, busy, answer = 0.0, [], problem.wire_bytes[-1]
    gone = False
    coded = problem.deployment.codec != "fp32"
    for stage in line:
        if gone:
            busy.append(0.0)
            continue
        facts = problem.devices[stage.device]
        gone = left is not None and left < stage.last
        last = left + 1 if gone else stage.last
        compute = sum(facts.profile.block_ms[stage.first : last]) * facts.slowdown
        sent = answer if gone else problem.wire_bytes[stage.last]
        raw = [problem.card.cuts[cut].nbytes for cut in (stage.first, stage.last)]
        inner = [coded and stage.first > 0, coded and not gone and stage.last < len(problem.card.blocks)]
        codec = sum(size for size, crosses in zip(raw, inner, strict=True) if crosses)
        per_mb = facts.profile.frame_ms_per_mb * facts.frame_slowdown
        handling = facts.profile.frame_ms * facts.frame_slowdown
        handling += per_mb * (problem.wire_bytes[stage.first] + sent + codec) / 1e6
        down = transfer_ms(np.array([problem.wire_bytes[stage.first]]), facts.link.down_mbps)[0]
        up = transfer_ms(np.array([sent]), facts.link.up_mbps)[0]
        latency += facts.link.rtt_ms + down + handling + compute + up
        busy.append(compute + handling)
    return latency, *busy


def test_without_exits_nothing_is_different(make_card, make_device) -> None:
    card = make_card([4000, 8000, 4000, 400])
    devices = [make_device("a", [1, 2, 3], mbps=(8, 8), rtt_ms=1), make_device("b", [2, 2, 2], mbps=(9, 7))]
    wish = Deployment(deployment="d", model="made-up")
    plain = problem_from(card, wish, devices, NO_HUB)
    closed = problem_from(with_exits(card, [0, 1], macs=9), wish, devices, NO_HUB, exits=())
    for name in ("latency_ms", "bottleneck_ms", "energy_j", "crossing_bytes"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(closed, name))


def test_the_cut_comes_earlier_when_more_requests_leave(make_card, make_device) -> None:
    """A camera that must begin, and a box twice as fast, for throughput: both are kept equally busy."""
    card = with_exits(make_card([4] * 13), [3])
    devices = [make_device("box", [1.0] * 12), make_device("camera", [2.0] * 12)]
    wish = Deployment(
        deployment="d", model="made-up", objective="throughput", pins=(Pin(device="camera", first=0, last=1),)
    )

    def camera_holds(share: float) -> int:
        problem = problem_from(card, wish, devices, NO_HUB, exits=rules(card, [share]))
        (route,) = find_policy("exact").plan(problem).routes
        return route.stages[0].last

    assert camera_holds(0.0) == 4  # of 12 blocks of equal work
    assert camera_holds(0.9) == 1  # of 4 blocks, and a tenth of the 8 behind them


def test_every_policy_plans_with_what_survives(make_card, make_device) -> None:
    card = with_exits(make_card([4000] * 9), [1, 4], macs=100_000)
    devices: list[DeviceFacts] = [
        make_device(name, [speed] * 8, mbps=(50, 50), rtt_ms=1) for name, speed in zip("abc", (1, 2, 4), strict=True)
    ]
    wish = Deployment(deployment="d", model="made-up")
    all_stay, most_leave = (
        problem_from(card, wish, devices, NO_HUB, exits=rules(card, shares)) for shares in ([0, 0], [0.6, 0.3])
    )
    for policy in POLICIES:
        before, after = policy.plan(all_stay), policy.plan(most_leave)
        assert after.predicted.latency_ms < before.predicted.latency_ms, policy.name
        assert after.predicted.energy_j < before.predicted.energy_j, policy.name
        assert after.exits == most_leave.exits


def test_a_plan_names_the_open_exits_and_what_a_visit_to_a_stage_takes(make_card, make_device) -> None:
    card = with_exits(make_card([4000, 4000, 4000, 400]), [0])
    devices = [make_device("a", [8, 0, 0], mbps=(0.8, 0.8)), make_device("b", [0, 6, 6], mbps=(0.8, 0.8))]
    problem = problem_from(
        card, Deployment(deployment="d", model="made-up"), devices, NO_HUB, exits=rules(card, [0.75])
    )
    line = (Placement(0, 0, 1), Placement(1, 1, 3))
    plan = to_plan(problem, choose(problem, [line], "pipeline"), generation=1, policy="exact")
    assert [(rule.name, rule.share) for rule in plan.exits] == [("exit1", 0.75)]
    first, second = plan.routes[0].stage_predictions
    assert (first.compute_ms, first.down_ms) == (8.0, 40.0)
    assert first.up_ms == pytest.approx(0.25 * 40 + 0.75 * 4)
    # Whoever comes to the second stage goes through all of it.
    assert (second.compute_ms, second.down_ms, second.up_ms) == (12.0, 40.0, 4.0)
    assert plan.predicted is not None
    assert plan.predicted.latency_ms == pytest.approx(8 + 40 + 13 + 0.25 * (12 + 40 + 4))
