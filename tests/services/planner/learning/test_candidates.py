"""What a learner may choose from: exact's plan first, whole models, and plans that are really different."""

from __future__ import annotations

import pytest

from bench.learning.scene import fleet_world
from services.planner.complete import choose, plan_of
from services.planner.learning.arms import ALIKE_MOST, ARMS_MOST, NotLearnableError, arms_of
from services.planner.line_cost import Placement, line_cost
from services.planner.policies.best_single import BestSingle
from services.planner.policies.brute_force import all_lines
from services.planner.policies.exact import Exact


@pytest.mark.parametrize("objective", ["latency", "throughput"])
@pytest.mark.parametrize("seed", range(4))
def test_exacts_plan_comes_first_and_all_plans_are_different_and_complete(seed: int, objective: str) -> None:
    world = fleet_world(seed, objective=objective)
    arms = world.arms()
    assert str(arms[0].choice) == str(Exact().plan(world.believed))
    assert 2 <= len(arms) <= ARMS_MOST
    assert len({arm.name for arm in arms}) == len(arms)
    assert all(arm.cost >= arms[0].cost * (1 - 1e-9) for arm in arms)
    visited = [tuple(route.devices for route in arm.choice.routes) for arm in arms]
    assert max(visited.count(one) for one in visited) <= ALIKE_MOST + 1
    for arm in arms:
        assert sum(arm.terms.values()) == pytest.approx(arm.cost)
        assert all(ms >= 0 for ms in arm.terms.values())


def test_there_is_a_plan_without_each_device() -> None:
    world = fleet_world(1)
    for name in (one.name for one in world.facts):
        assert any(name not in arm.name for arm in world.arms())


def test_the_whole_model_on_the_best_device_is_among_them() -> None:
    world = fleet_world(2)
    assert str(BestSingle().plan(world.believed)) in {arm.name for arm in world.arms()}


def test_the_second_best_plan_of_all_is_found() -> None:
    world = fleet_world(0, devices=2)
    problem = world.believed
    costs = sorted(round(line_cost(problem, line).latency_ms, 6) for line in all_lines(problem))
    found = sorted(round(arm.cost, 6) for arm in arms_of(problem, Exact().plan(problem), most=100))
    assert found[:2] == costs[:2]


def test_what_is_served_is_among_them_even_if_it_is_a_poor_plan() -> None:
    world = fleet_world(3)
    line = (Placement(2, 0, 4), Placement(1, 4, 5), Placement(0, 5, 12))
    poor = choose(world.believed, [line], "poor")
    serving = plan_of(world.card, world.wish, poor, generation=3, policy="bandit")
    assert str(poor) not in {arm.name for arm in world.arms()}
    arms = arms_of(world.believed, Exact().plan(world.believed), serving)
    assert arms[1].name == str(serving)
    assert len(arms) <= ARMS_MOST


def test_one_device_alone_has_one_plan() -> None:
    assert len(fleet_world(1, devices=1).arms()) == 1


@pytest.mark.parametrize("objective", ["energy", "cost"])
def test_what_nobody_sees_cannot_be_learned(objective: str) -> None:
    world = fleet_world(1, objective=objective)
    with pytest.raises(NotLearnableError, match=f"not {objective}: use --objective latency"):
        world.arms()
