"""Worlds outside the learner's class: the mistake is what it says, it matters, and no factor explains it."""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import fmean, median

import pytest

from bench.learning.noises import STALL, as_assumed, heavy_tailed
from bench.learning.scene import MATTERS, fleet_world
from bench.learning.strange import (
    KINDS,
    SMALL_BYTES,
    StrangeWorld,
    believed_right,
    crowded_switch,
    slow_bulk,
    small_memory,
    some_strange,
)
from services.planner.line_cost import Placement


@pytest.mark.parametrize("kind", KINDS)
def test_the_mistake_matters_and_worlds_are_always_the_same(kind: str) -> None:
    worlds = some_strange(kind, 2)
    for world in worlds:
        assert world.true_cost(world.arms()[0]) >= (1 + MATTERS) * world.best_cost
        assert all(world.true_cost(arm) >= world.best_cost * (1 - 1e-9) for arm in world.arms())
    assert [one.best_cost for one in some_strange(kind, 2)] == [one.best_cost for one in worlds]


def test_where_nothing_is_wrong_exact_finds_the_best_of_all_routes() -> None:
    for seed in range(3):
        world = believed_right(fleet_world(seed))
        assert world.true_cost(world.arms()[0]) == pytest.approx(world.best_cost)


def longer_by(world: StrangeWorld, *stages: tuple[int, int, int]) -> float:
    return world.mistake(world.believed, tuple(Placement(*stage) for stage in stages))


def test_a_small_memory_costs_nothing_up_to_its_knee_and_ever_more_beyond() -> None:
    world = replace(believed_right(fleet_world(1)), mistake=small_memory((0,)))
    some, most, all_ = (longer_by(world, (0, 0, last), (1, last, 12)) for last in (2, 8, 11))
    assert some == 0
    assert 0 < most / 8 < all_ / 11
    assert longer_by(world, (1, 0, 12)) == 0


def test_a_link_that_is_slow_for_bulk_carries_small_messages_as_measured() -> None:
    world = replace(believed_right(fleet_world(1)), mistake=slow_bulk(1))
    small = [at for at in range(1, 12) if world.believed.wire_bytes[at] <= SMALL_BYTES]
    large = [at for at in range(1, 12) if world.believed.wire_bytes[at] > 2 * SMALL_BYTES]
    out_ms = longer_by(world, (0, 0, 12))
    assert out_ms == 0
    assert longer_by(world, (0, 0, large[0]), (1, large[0], 12)) > 0
    for at in small:
        assert longer_by(world, (0, 0, at), (1, at, 12)) == 0


def test_a_crowded_switch_makes_two_devices_wait_more_together_than_each_alone() -> None:
    world = replace(believed_right(fleet_world(1)), mistake=crowded_switch((0, 1), 4.0))
    alone = longer_by(world, (0, 0, 6), (2, 6, 12)) + longer_by(world, (2, 0, 6), (1, 6, 12))
    assert longer_by(world, (0, 0, 6), (1, 6, 12)) > 1.2 * alone
    assert longer_by(world, (2, 0, 12)) == 0


def test_noises_are_centred_and_one_of_them_stalls_now_and_then() -> None:
    draw = random.Random(3)
    for noise, stalled in ((as_assumed, 0.0), (heavy_tailed, 0.05)):
        values = [noise(draw) for _ in range(4000)]
        assert min(values) > 0
        assert median(values) == pytest.approx(1, abs=0.02)
        assert fmean(value > 0.6 * STALL for value in values) == pytest.approx(stalled, abs=0.015)
