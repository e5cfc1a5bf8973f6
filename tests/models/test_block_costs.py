"""What blocks cost inside a stage, from runs of single blocks, pairs and the whole."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.block_costs import Run, Span, middle_mean, separate, slowdown, spans_to_measure, typical_costs

positive = st.floats(0.1, 50)


def measured(blocks: list[float], edges: list[float], spans: list[Span]) -> dict[Span, float]:
    """What a perfect clock would show: the blocks, and half of what each edge costs."""
    return {(i, j): sum(blocks[i:j]) + (edges[i] + edges[j]) / 2 for i, j in spans}


@given(st.lists(positive, min_size=1, max_size=12), st.floats(0, 0.1))
def test_blocks_and_overhead_are_recovered_when_every_edge_costs_the_same(blocks: list[float], edge: float) -> None:
    count = len(blocks)
    spans = [*spans_to_measure(count), (0, count)]
    costs = separate(measured(blocks, [edge] * (count + 1), spans), [(0, count)])
    if count > 1:
        assert costs.blocks == pytest.approx(blocks, abs=1e-6)
        assert costs.overhead == pytest.approx(edge, abs=1e-6)
    assert sum(costs.blocks) + costs.overhead == pytest.approx(sum(blocks) + edge, abs=1e-6)


def test_one_expensive_edge_is_charged_to_the_cut_and_not_to_the_blocks_beside_it() -> None:
    blocks, edges = [4.0, 4.0, 4.0, 4.0, 4.0], [0.1, 0.1, 3.0, 0.1, 0.1, 0.1]
    spans = [*spans_to_measure(5), (0, 5)]
    costs = separate(measured(blocks, edges, spans), [(0, 5)])
    assert costs.blocks == pytest.approx(blocks)
    assert costs.overhead == pytest.approx(0.1)


def test_blocks_add_up_to_each_longer_run_they_are_part_of() -> None:
    blocks = [1.0, 2.0, 3.0, 4.0]
    spans = [*spans_to_measure(4), (0, 3), (3, 4)]
    cost = measured(blocks, [0.2] * 5, spans)
    cost[0, 3] *= 0.8
    costs = separate(cost, [(0, 3), (3, 4)])
    assert sum(costs.blocks[:3]) + costs.overhead == pytest.approx(cost[0, 3])
    assert costs.blocks[3] == pytest.approx(4.0)


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.lists(positive, min_size=2 * n, max_size=2 * n))))
def test_noise_never_makes_a_cost_negative(case: tuple[int, list[float]]) -> None:
    blocks, numbers = case
    spans = list(dict.fromkeys([*spans_to_measure(blocks), (0, blocks)]))
    costs = separate(dict(zip(spans, numbers, strict=False)), [(0, blocks)])
    assert len(costs.blocks) == blocks
    assert min(costs.blocks) >= 0
    assert costs.overhead >= 0


def test_every_block_and_every_pair_of_neighbours_is_measured_once() -> None:
    spans = spans_to_measure(4)
    assert sorted(spans) == sorted([(0, 1), (1, 2), (2, 3), (3, 4), (0, 2), (1, 3), (2, 4)])
    assert all(one[0] <= other[0] for one, other in pairwise(spans))
    assert spans_to_measure(1) == [(0, 1)]


def test_pauses_of_a_quota_lengthen_everything_alike_however_they_fall_on_single_runs() -> None:
    # 4 ms of work, then 6 ms of pause: one run in four sees it, the others none.
    runs = [Run((0, 1), 0.001, 0.007 if i % 4 == 3 else 0.001) for i in range(4000)]
    cost = typical_costs(runs)
    assert cost == {(0, 1): pytest.approx(0.001)}
    assert slowdown(runs, cost) == pytest.approx(2.5, rel=0.02)


def test_a_burst_of_other_work_is_not_taken_for_a_quota() -> None:
    runs = [Run((0, 1), 0.001, 0.003 if 1000 <= i < 1200 else 0.001) for i in range(4000)]
    assert slowdown(runs, typical_costs(runs)) == pytest.approx(1.0, rel=0.02)


def test_a_few_runs_make_one_window() -> None:
    assert slowdown([Run((0, 1), 0.01, 0.02)] * 3, {(0, 1): 0.01}) == pytest.approx(2.0)


def test_the_middle_mean_ignores_a_quarter_at_each_end() -> None:
    assert middle_mean([1, 2, 3, 100]) == 2.5
    assert middle_mean([7]) == 7
