"""Scores of nodes, by hand, and who is skipped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.planner.node_selection import (
    AMP4EC,
    CARBON_BALANCED,
    CARBON_GREEN,
    CARBON_PERFORMANCE,
    Node,
    Task,
    Weights,
    score,
    select,
    skipped,
)

TASK = Task(cores=0.4, memory_bytes=128e6)
# S_R = (0.6/0.4 + 512/128) / 2 = 2.75, S_L = 0.75, S_P = 1/2, S_B = 1/3; 5 J are 5/3.6e6 kWh, so S_C = 1/2.
NODE = Node(
    name="m", cores=0.6, memory_bytes=512e6, load=0.25, latency_ms=4, average_s=1, busy_w=5, tasks=1,
    carbon_g_per_kwh=720_000,
)  # fmt: skip


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (AMP4EC, 0.2 * 2.75 + 0.2 * 0.75 + 0.1 / 2 + 0.5 / 3),
        (CARBON_PERFORMANCE, 0.25 * 2.75 + 0.25 * 0.75 + 0.30 / 2 + 0.15 / 3 + 0.05 / 2),
        (CARBON_BALANCED, 0.20 * 2.75 + 0.20 * 0.75 + 0.15 / 2 + 0.15 / 3 + 0.30 / 2),
        (CARBON_GREEN, 0.15 * 2.75 + 0.15 * 0.75 + 0.10 / 2 + 0.10 / 3 + 0.50 / 2),
    ],
)
def test_a_score_is_the_weighted_sum_of_its_terms(weights: Weights, expected: float) -> None:
    assert score(NODE, TASK, weights) == pytest.approx(expected)
    assert sum(weights) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"load": 0.81}, "m is 81% busy, more than 80%"),
        ({"latency_ms": 140}, "m is 140 ms away, more than 100 ms"),
        ({"cores": 0.3}, "m has 0.30 of 0.40 cores free"),
        ({"memory_bytes": 64e6}, "m has 64.0 of 128.0 MB free"),
        ({"load": 0.8, "cores": 0.4, "memory_bytes": 128e6}, ""),
    ],
)
def test_a_node_is_skipped_with_a_reason(change: dict[str, float], why: str) -> None:
    node = replace(NODE, **change)  # type: ignore[arg-type]
    assert skipped(node, TASK) == why
    assert select({7: node}, TASK, AMP4EC) == (None if why else 7)


def test_a_task_makes_a_node_less_likely_to_get_the_next() -> None:
    fresh = replace(NODE, tasks=0)
    busy = fresh.holding(TASK)
    assert (busy.cores, busy.memory_bytes, busy.tasks) == (pytest.approx(0.2), 384e6, 1)
    assert select({0: replace(fresh, tasks=1), 1: fresh}, TASK, AMP4EC) == 1
    assert select({0: fresh, 1: fresh}, TASK, AMP4EC) == 0


def test_green_mode_prefers_clean_electricity_to_a_quick_node() -> None:
    quick = replace(NODE, average_s=0.9, carbon_g_per_kwh=1_440_000)
    clean = replace(NODE, average_s=1.1, carbon_g_per_kwh=72_000)
    assert select({0: quick, 1: clean}, TASK, AMP4EC) == 0
    assert select({0: quick, 1: clean}, TASK, CARBON_GREEN) == 1
