"""A cut before a residual block changes no bit of what ONNX Runtime answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from row_graphs import card_of, model_of, weight

from models.entering import summed_as_undivided
from models.library import BlobStore
from models.runtime import load_stage
from models.stage import stage_model
from schemas.codec import Array
from schemas.model import ModelCard

SAME = {"pads": [1, 1, 1, 1]}
CHANNELS = 16


def stem_and_block(*order: str) -> list[onnx.NodeProto]:
    """A convolution that gives `cut`; behind it two more, and a sum that skips them."""
    return [
        helper.make_node("Conv", ["x", "w1"], ["a"], **SAME),
        helper.make_node("Relu", ["a"], ["cut"]),
        helper.make_node("Conv", ["cut", "w2"], ["b"], **SAME),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "w3"], ["d"], **SAME),
        helper.make_node("Add", list(order), ["sum"]),
        helper.make_node("Conv", ["sum", "w4"], ["e"], **SAME),
        helper.make_node("Add", ["e", "sum"], ["end"]),
    ]


def residual(store: BlobStore, *order: str) -> ModelCard:
    weights = [weight(f"w{number}", CHANNELS, CHANNELS, 3, 3) for number in range(1, 5)]
    model = model_of(stem_and_block(*order), weights, height=12, output="end", channels=CHANNELS)
    # The blob store's card has its border behind `cut` here, not behind all of it.
    return card_of(model, "cut", store)[0]


def answers(card: ModelCard, store: BlobStore, x: Array) -> tuple[Array, Array]:
    """Of the model in one piece, and of its two blocks one after the other."""
    [whole] = load_stage(card, store, 0, 2).run({"x": x}).values()
    [apart] = load_stage(card, store, 1, 2).run(load_stage(card, store, 0, 1).run({"x": x})).values()
    return whole, apart


@pytest.mark.parametrize("order", [("d", "cut"), ("cut", "d")])
def test_a_residual_sum_over_the_cut_is_rounded_as_without_it(order: tuple[str, str], tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    card = residual(store, *order)
    for seed in range(5):
        x = np.random.default_rng(seed).standard_normal(card.inputs[0].shape).astype(np.float32)
        whole, apart = answers(card, store, x)
        np.testing.assert_array_equal(apart, whole)


def test_what_comes_in_is_added_to_the_convolution_that_it_is_added_to_without_a_cut(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    piece = summed_as_undivided(stage_model(residual(store, "cut", "d"), store, 1, 2))
    entry, *nodes = piece.model.graph.node
    assert (entry.op_type, list(entry.input)) == ("Conv", ["cut", "cut/entered/window"])
    assert [list(node.input) for node in nodes if node.op_type == "Add"] == [["d", "cut/entered"], ["e", "sum"]]
    assert piece.feeds == ("cut",)
    assert nodes[0].input[0] == "cut"


def test_a_stage_without_such_sums_stays_as_it_is(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    nodes = [helper.make_node("Conv", ["x", "w1"], ["cut"], **SAME), helper.make_node("Relu", ["cut"], ["end"])]
    model = model_of(nodes, [weight("w1", 2, 2, 3, 3)], height=6, output="end")
    piece = stage_model(card_of(model, "cut", store)[0], store, 1, 2)
    assert summed_as_undivided(piece) is piece


def test_a_number_that_is_none_stays_none(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    card = residual(store, "d", "cut")
    x = np.full(card.inputs[0].shape, np.inf, np.float32)
    whole, apart = answers(card, store, x)
    np.testing.assert_array_equal(np.isnan(apart), np.isnan(whole))
