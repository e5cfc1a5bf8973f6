"""The demo's memory limits: one device fewer is not enough."""

from itertools import combinations, pairwise

import pytest
from end_to_end.small_line import stack_of_convolutions

from models.importer import import_model
from models.library import Library
from models.runtime import stage_memory_bytes
from stageline.demo.memory import forcing_budget_bytes, least_budget_bytes


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_the_least_budget_is_that_of_the_best_of_all_splits(tmp_path, stages: int) -> None:
    import onnx

    onnx.save(stack_of_convolutions(), tmp_path / "stack.onnx")
    card = import_model(str(tmp_path / "stack.onnx"), Library(tmp_path / "library"))
    blocks = len(card.blocks)
    splits = ([0, *inner, blocks] for inner in combinations(range(1, blocks), stages - 1))
    best = min(max(stage_memory_bytes(card, a, b) for a, b in pairwise(cuts)) for cuts in splits)
    assert least_budget_bytes(card, stages) == best
    if stages > 1:
        assert (
            least_budget_bytes(card, stages)
            <= forcing_budget_bytes(card, stages)
            < least_budget_bytes(card, stages - 1)
        )
