"""The exact planner is as good as trying everything, and no method is better than it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_edge_problems import points, problems

from bench.study.assumptions import BASE
from bench.study.baselines import device_only, edge_only, even_shares, fixed_split, random_shares
from bench.study.devices import Device
from bench.study.exact import best_shares, exact
from bench.study.exits_too import all_ways, least_cost
from bench.study.gaps import beaten, gaps
from bench.study.methods import Table
from bench.study.network import Network
from bench.study.problem import Point, Problem, build, decide
from bench.study.sweep import grid, rows, sweep
from models.exits.setting.layers import Layers


def brute_force(problem: Problem, point: Point) -> float:
    """The least cost of all splits, each with its best shares."""
    least = float("inf")
    for splits in product(range(problem.splits), repeat=problem.devices):
        work = problem.edge_gflop[np.arange(problem.devices), splits]
        least = min(least, decide(problem, point, splits, best_shares(work).tolist()).cost)
    return least


@given(problems(), points)
def test_exact_costs_what_the_best_of_all_splits_costs(problem: Problem, point: Point) -> None:
    found = exact(problem, point)
    assert found.cost == pytest.approx(brute_force(problem, point), rel=1e-9)
    assert sum(found.shares) <= 1 + 1e-9


@given(problems(), points, st.integers(0, 2**32 - 1))
def test_no_shares_are_better_than_those_in_closed_form(problem: Problem, point: Point, seed: int) -> None:
    rng = np.random.default_rng(seed)
    splits = rng.integers(0, problem.splits, problem.devices)
    best = decide(problem, point, splits.tolist(), best_shares(problem.edge_gflop[np.arange(problem.devices), splits]))
    for shares in random_shares(problem.devices, 30, seed):
        assert best.cost <= decide(problem, point, splits.tolist(), np.maximum(shares, 1e-9) / 1.001).cost * (1 + 1e-9)


@given(problems(), points)
def test_exact_is_not_dearer_than_any_baseline(problem: Problem, point: Point) -> None:
    least = exact(problem, point).cost * (1 - 1e-9)
    tries = random_shares(problem.devices, 50, 0)
    for found in (
        device_only(problem, point), edge_only(problem, point), even_shares(problem, point),
        fixed_split(problem, point, 1, tries),
    ):  # fmt: skip
        assert least <= found.cost


@given(problems(), points)
def test_even_shares_choose_each_devices_best_split_for_them(problem: Problem, point: Point) -> None:
    even = [1 / problem.devices] * problem.devices
    every = product(range(problem.splits), repeat=problem.devices)
    least = min(decide(problem, point, splits, even).cost for splits in every)
    assert even_shares(problem, point).cost == pytest.approx(least)


def test_no_method_beats_exact_on_the_papers_tables(table: Table) -> None:
    answers = sweep(table, grid((1, 3, 10, 30, 50), (0.1, 0.5, 0.9)), {}, lambda _: None)
    assert beaten(answers) == []
    assert gaps(answers)["exact"].worst == 0
    assert gaps(answers)["aco"].mean >= 0
    found = rows(table.name, answers)
    assert len(found) == 15 * 6
    assert set(found[0]) == {"table", "bandwidth_mbps", "w", "method", "cost", "latency_s", "energy_j"}
    assert all(
        one["cost"] == pytest.approx(one["w"] * one["latency_s"] + (1 - one["w"]) * one["energy_j"]) for one in found
    )


def test_a_method_that_is_cheaper_than_exact_is_named(table: Table) -> None:
    answers = sweep(table, [Point(5, 0.5)], {}, lambda _: None)
    (every,) = answers.values()
    every["exact"] = every["fixed-6"]
    assert any("aco at 5 Mbit/s" in said for said in beaten(answers))


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), points)
def test_choosing_exits_too_costs_what_the_best_of_all_exits_costs(seed: int, point: Point) -> None:
    rng = np.random.default_rng(seed)
    layers = Layers(tuple(rng.random(3) * 5), tuple(rng.random(3)))
    network = Network(layers, tuple(rng.random(4) * 1e5))
    devices = [Device(*rng.random(2), 1 + rng.random(), tuple(rng.integers(1, 50, 3).tolist())) for _ in range(2)]
    every: list[Sequence[tuple[int, ...]]] = list(product([(), (0,), (1,), (0, 1)], repeat=2))
    least = min(exact(build(network, devices, exits, BASE.edge_gflops), point).cost for exits in every)
    ways = [all_ways(network, device) for device in devices]
    assert least_cost(ways, BASE.edge_gflops, point) == pytest.approx(least)


def test_a_fixed_split_takes_the_best_of_its_tries(table: Table) -> None:
    tries = random_shares(table.problem.devices, 100, 3)
    assert tries.shape == (100, table.problem.devices)
    assert tries.sum(axis=1) == pytest.approx(np.ones(100))
    point = Point(10, 0.5)
    found = fixed_split(table.problem, point, 6, tries)
    assert found.splits == (6,) * table.problem.devices
    assert found.cost == pytest.approx(
        min(decide(table.problem, point, found.splits, shares.tolist()).cost for shares in tries)
    )
