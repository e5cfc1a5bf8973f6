"""How long a decision takes: gathering the plans, and choosing among them. Medians, on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any, Final

from bench.learning.scene import fleet_world
from services.planner.cost import Problem
from services.planner.learning.learner import Learner, Proposer
from services.planner.learning.world import World
from services.planner.policies.exact import Exact

FLEETS: Final = (3, 8, 10)
_DECISIONS: Final = 40


def decision_times(proposers: Mapping[str, Proposer], *, rounds: int) -> list[dict[str, Any]]:
    """A row per fleet and policy, ms."""
    rows = []
    for devices in FLEETS:
        world = fleet_world(1, devices=devices)
        problem_ms = _median_ms(partial(_believed, world), rounds)
        exact_ms = _median_ms(partial(Exact().plan, world.believed), rounds)
        gather_ms = _median_ms(world.arms, rounds)
        for name, proposer in proposers.items():
            rows.append(
                {
                    "devices": devices, "policy": name, "plans": len(world.arms()), "problem_ms": problem_ms,
                    "exact_ms": exact_ms, "gather_ms": gather_ms, "decide_ms": _decide_ms(world, proposer),
                }
            )  # fmt: skip
    return rows


def _believed(world: World) -> Problem:
    return World(world.card, world.wish, world.facts).believed


def _decide_ms(world: World, proposer: Proposer) -> float:
    """Of taking one measurement in and choosing what is next."""
    arms, learner, took = world.arms(), Learner(), []
    for _ in range(_DECISIONS):
        began_s = time.perf_counter()
        pick = learner.decide(arms, proposer)
        learner = learner.measured(arms, pick, 1.3 * pick.arm.cost)
        took.append((time.perf_counter() - began_s) * 1e3)
    return median(took)


def _median_ms(work: Callable[[], object], rounds: int) -> float:
    took = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        work()
        took.append((time.perf_counter() - began_s) * 1e3)
    return median(took)
