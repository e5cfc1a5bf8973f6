"""Noise moves nothing, a real change moves once: ten minutes of made-up telemetry through the planner's decisions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from simulations.simulated_fleet import Simulation, Truth

from schemas.deployment import Deployment
from services.planner.drift import Rules

TEN_MINUTES_S = 600
Fleet = dict[str, Truth]

UNEQUAL: Fleet = {"a": Truth(block_ms=2.0), "b": Truth(block_ms=3.0), "c": Truth(block_ms=6.0)}
ALIKE: Fleet = {"a": Truth(block_ms=3.0), "b": Truth(block_ms=3.0), "c": Truth(block_ms=3.05)}
BUSY: Fleet = {"a": Truth(block_ms=2.0, others=0.4), "b": Truth(block_ms=2.4, others=0.2), "c": Truth(block_ms=3.0)}
SMALL: Fleet = {  # no device holds all of it, so it must be a pipeline
    "a": Truth(block_ms=6.0, memory_bytes=16_000_000),
    "b": Truth(block_ms=7.5, memory_bytes=16_000_000),
    "c": Truth(block_ms=9.0, memory_bytes=16_000_000),
}
FAR: Fleet = {"a": Truth(block_ms=2.0, mbps=40, rtt_ms=8), "b": Truth(block_ms=2.6, mbps=60, rtt_ms=4)}


def wish(**wanted: Any) -> Deployment:
    return Deployment(deployment="cats", model="net", **wanted)


def simulation(fleet: Fleet, *, seed: int, rate_rps: float = 10.0, **wanted: Any) -> Simulation:
    return Simulation(dict(fleet), wish(**wanted), seed=seed, rate_rps=rate_rps)


@pytest.mark.parametrize(
    ("fleet", "wanted", "seed"),
    [
        (UNEQUAL, {}, 1),
        (UNEQUAL, {}, 2),
        (ALIKE, {}, 3),
        (ALIKE, {}, 4),
        (BUSY, {}, 5),
        (SMALL, {}, 6),
        (FAR, {}, 7),
        (UNEQUAL, {"objective": "throughput"}, 8),
        (SMALL, {"objective": "throughput"}, 9),
        (ALIKE, {"objective": "energy"}, 10),
    ],
    ids=["unequal", "unequal-2", "alike", "alike-2", "busy", "small", "far", "replicas", "pipelines", "energy"],
)
def test_noise_of_15_percent_moves_nothing_in_ten_minutes(fleet: Fleet, wanted: dict[str, Any], seed: int) -> None:
    played = simulation(fleet, seed=seed, **wanted)
    played.run(TEN_MINUTES_S)
    assert [(at_s, str(plan), found.cause) for at_s, plan, found in played.moves] == []


@pytest.mark.parametrize(
    ("fleet", "wanted", "change"),
    [
        (UNEQUAL, {}, {"slowdown": 2.0}),
        (UNEQUAL, {}, {"others": 1.0}),
        (UNEQUAL, {}, {"cores": 0.5}),
        (ALIKE, {}, {"slowdown": 2.0}),
        (SMALL, {}, {"slowdown": 2.0}),
        (SMALL, {"objective": "throughput"}, {"slowdown": 2.0}),
        (SMALL, {"objective": "throughput"}, {"cores": 0.5}),
    ],
    ids=["one", "others", "quota", "alike", "pipeline", "pipelines", "pipelines-quota"],
)
def test_a_device_that_becomes_half_as_fast_is_moved_away_from_once(
    fleet: Fleet, wanted: dict[str, Any], change: dict[str, float]
) -> None:
    played = simulation(fleet, seed=len(wanted) + len(change), **wanted)
    assert played.plan is not None
    slow = played.plan.routes[0].stages[0].device
    played.run(60)
    played.change(slow, **change)
    played.run(TEN_MINUTES_S - 60)
    assert len(played.moves) == 1, [(at_s, str(plan), found.cause) for at_s, plan, found in played.moves]
    at_s, _, found = played.moves[0]
    assert at_s <= 100
    assert slow in found.cause


def test_a_quota_that_is_cut_to_a_quarter_is_answered_in_the_next_seconds() -> None:
    played = simulation(UNEQUAL, seed=3)
    played.run(60)
    changed_s = played.now_s
    played.change("a", cores=0.25)
    played.run(10)
    (at_s, plan, found), *more = played.moves
    assert not more
    assert at_s - changed_s <= 3
    assert found.sudden
    assert plan.devices == ("b",)
    assert "0.25 cores, 1 when measured" in found.cause


def test_a_link_that_becomes_slow_is_answered_after_its_next_measurements() -> None:
    played = simulation({"a": Truth(block_ms=2.0, mbps=100), "b": Truth(block_ms=2.4, mbps=100)}, seed=4)
    assert played.plan is not None
    assert played.plan.devices == ("a",)
    played.run(60)
    played.change("a", mbps=5.0)
    played.run(60)
    assert [plan.devices for _, plan, _ in played.moves] == [("b",)]
    assert "a takes" in played.moves[0][2].cause


def test_a_device_that_gets_well_again_is_used_again_once() -> None:
    played = simulation(UNEQUAL, seed=5)
    played.run(30)
    played.change("a", others=1.0)
    played.run(90)
    played.change("a", others=0.0)
    played.run(120)
    assert [plan.devices for _, plan, _ in played.moves] == [("b",), ("a",)]


@pytest.mark.parametrize("fleet", [UNEQUAL, ALIKE], ids=["unequal", "alike"])
def test_a_cost_model_that_is_wrong_about_every_device_alike_moves_nothing(fleet: Fleet) -> None:
    wrong = {name: replace(true, slowdown=1.6) for name, true in fleet.items()}
    played = simulation(wrong, seed=11)
    played.run(120)
    assert played.moves == []


def test_a_move_that_takes_longer_than_it_is_worth_is_not_made() -> None:
    fleet = {"a": Truth(block_ms=2.0), "b": Truth(block_ms=2.4)}
    patient = Rules(horizon_s=1.0)  # what is gained in one second must pay for half a second of building
    played = Simulation(dict(fleet), wish(), seed=6, rate_rps=10.0, rules=patient)
    played.run(30)
    played.change("a", slowdown=2.0)
    played.run(60)
    assert played.moves == []


def test_after_a_short_dip_of_a_quota_the_device_is_what_it_was() -> None:
    played = simulation(UNEQUAL, seed=1)
    played.run(30)
    played.change("a", cores=0.25)
    played.run(15)
    restored_s = played.now_s
    played.change("a", cores=1.0)
    played.run(30)
    assert [plan.devices for _, plan, _ in played.moves] == [("b",), ("a",)]
    assert played.moves[1][0] - restored_s <= 5


@pytest.mark.parametrize("every_s", [5, 20])
def test_a_quota_that_comes_and_goes_is_not_run_after(every_s: int) -> None:
    played = simulation({"a": Truth(block_ms=2.0), "b": Truth(block_ms=4.5)}, seed=1)
    played.run(30)
    for turn in range(300 // every_s):
        played.change("a", cores=1.0 if turn % 2 else 0.25)
        played.run(every_s)
    assert len(played.moves) <= 8
