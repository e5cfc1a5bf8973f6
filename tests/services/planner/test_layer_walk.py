"""AMP4EC's partitioner against its authors' own cuts, by hand, and for any costs."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.planner.layer_walk import capability_targets, even_targets, walk


def sizes(parts: tuple[tuple[int, int], ...]) -> list[int]:
    return [last - first for first, last in parts]


@pytest.fixture(scope="module")
def mobilenet_costs() -> list[int]:
    """Layer costs of torchvision's MobileNetV2, module by leaf module."""
    from torch import nn

    from models.torchvision_import import torchvision

    def cost(layer: nn.Module) -> int:
        if isinstance(layer, nn.Conv2d):
            return layer.kernel_size[0] * layer.kernel_size[1] * layer.in_channels * layer.out_channels
        if isinstance(layer, nn.Linear):
            return layer.in_features * layer.out_features
        return sum(weights.numel() for weights in layer.parameters())

    modules = torchvision.models.mobilenet_v2(weights=None).modules()
    return [cost(layer) for layer in modules if not list(layer.children())]


@pytest.mark.parametrize("expected", [[116, 25], [108, 16, 17], [100, 16, 16, 9]])
def test_mobilenet_is_cut_where_the_authors_cut_it(expected: list[int], mobilenet_costs: list[int]) -> None:
    assert len(mobilenet_costs) == 141
    targets = even_targets(sum(mobilenet_costs), len(expected))
    assert sizes(walk(mobilenet_costs, targets)) == expected


def test_a_node_is_worth_six_tenths_of_its_cores_and_four_of_its_memory() -> None:
    # S = 1.0, 0.6 * 0.6 + 0.4 * 0.5 = 0.56, 0.6 * 0.4 + 0.4 * 0.5 = 0.44
    assert capability_targets(1000, [1.0, 0.6, 0.4], [1024, 512, 512]) == pytest.approx([500, 280, 220])


def test_the_layer_that_reaches_the_target_belongs_to_the_part() -> None:
    assert walk([3, 3, 3, 3], [5, 4, 3]) == ((0, 2), (2, 4))
    assert walk([3, 3, 3, 3], [6, 6]) == ((0, 2), (2, 4))
    assert walk([1, 9, 1, 1], [4, 4, 4]) == ((0, 2), (2, 4))


def test_no_part_is_empty_when_the_last_layer_reaches_a_target() -> None:
    assert walk([1, 1, 10], [12, 1]) == ((0, 3),)
    assert walk([5], [1, 1, 1]) == ((0, 1),)


@settings(deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40), st.lists(st.floats(0, 5000), min_size=1, max_size=8))
def test_parts_follow_one_another_and_cover_every_layer(costs: list[int], targets: list[float]) -> None:
    parts = walk(costs, targets)
    assert 1 <= len(parts) <= len(targets)
    assert parts[0][0] == 0
    assert parts[-1][1] == len(costs)
    assert all(first < last for first, last in parts)
    assert all(before[1] == after[0] for before, after in pairwise(parts))
    for (first, last), target in zip(parts[:-1], targets, strict=False):
        assert sum(costs[first:last]) >= target > sum(costs[first : last - 1]) or last == first + 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 64), st.floats(1, 1e12)), min_size=1, max_size=20))
def test_targets_add_up_to_the_whole(nodes: list[tuple[float, float]]) -> None:
    targets = capability_targets(100.0, [cores for cores, _ in nodes], [memory for _, memory in nodes])
    assert sum(targets) == pytest.approx(100.0)
    assert min(targets) > 0
