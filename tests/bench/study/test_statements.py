"""Statements are judged by what the curves show, not by what is hoped for."""

from __future__ import annotations

import pytest

from bench.study.problem import Decision, Point
from bench.study.sensitivity import sensitivity
from bench.study.statements import verdicts

METHODS = ("device-only", "edge-only", "spinn", "aco", "fixed-6", "ppo", "exact")


def decision(latency_s: float, energy_j: float) -> Decision:
    return Decision((0,), (1.0,), latency_s, energy_j, 0.5 * latency_s + 0.5 * energy_j)


def answers(joint: tuple[float, float]) -> dict[Point, dict[str, Decision]]:
    """Edge-only gets faster with bandwidth, all others stay as they are."""
    found = {}
    for bandwidth in (1.0, 5.0, 20.0, 30.0, 50.0):
        every = {name: decision(2.0, 2.0) for name in METHODS}
        every |= {"edge-only": decision(10.0 / bandwidth, 0.5), "fixed-6": decision(5.0, 5.0), "ppo": decision(*joint)}
        found[Point(bandwidth, 0.5)] = every
    return found


def judged(table: str, joint: tuple[float, float]) -> dict[str, str]:
    return {one.statement: one.verdict for one in verdicts(table, answers(joint), "ppo")}


def test_a_joint_method_that_is_best_everywhere_reproduces_what_the_paper_says() -> None:
    found = judged("images", (0.1, 0.6))
    assert found["the joint method has the lowest cost"] == "reproduced"
    assert found["the joint method has the lowest latency"] == "reproduced"
    assert found["edge-only has the lowest device energy"] == "reproduced"
    assert found["edge-only is slow where bandwidth is scarce"] == "reproduced"
    assert found["costs level off above 30 Mbit/s"] == "reproduced"
    assert found["a fixed split is worse in latency and cost, and mostly in energy"] == "reproduced"


def test_a_joint_method_that_is_not_refutes_it() -> None:
    found = judged("video", (3.0, 0.1))
    assert found["the joint method has the lowest cost"] == "refuted"
    assert found["the joint method has the lowest latency"] == "refuted"
    assert found["edge-only has the lowest device energy"] == "refuted"
    assert found["above 40 Mbit/s a fixed split needs less energy than most, but is slower"] == "refuted"


def test_figures_stand_beside_the_verdict() -> None:
    (said,) = [one for one in verdicts("images", answers((0.1, 0.6)), "ppo") if "slow" in one.statement]
    assert said.figures == "at 1 Mbit/s it takes 100.0 times as long as the joint method"


def test_statements_need_a_sweep_at_their_weight() -> None:
    other = {Point(1, 0.1): {name: decision(1, 1) for name in METHODS}}
    with pytest.raises(ValueError, match="sweep it"):
        verdicts("images", other, "ppo")


def test_under_all_assumptions_nothing_is_cheaper_than_exact() -> None:
    told: list[int] = []
    found = sensitivity(0, told.append)
    assert told == list(range(1, len(found) + 1))
    assert [fault for one in found for fault in one.beaten] == []
    assert {one.table for one in found} == {"images", "video"}
    assert all(gap.mean >= -1e-9 for one in found for gap in one.gaps.values())
