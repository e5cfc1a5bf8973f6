"""What a band costs."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import helper
from row_graphs import WIDTH, card_of, divisible, divisions, model_of, weight

from models.rows.chain import RowChain
from models.rows.cost import band_bytes, band_fractions, band_macs, band_memory_bytes, halo_macs
from models.rows.legal import deepest
from models.runtime import stage_memory_bytes
from schemas.model import ModelCard


def two_convolutions() -> tuple[ModelCard, RowChain]:
    """Of 2 channels, 3 by 3, 8 rows of 5 columns, with a pooling to 4 rows behind."""
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], **same),
        helper.make_node("Conv", ["a", "w2"], ["b"], **same),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 1], strides=[2, 1]),
    ]
    model = model_of(nodes, [weight("w1", 2, 2, 3, 3), weight("w2", 2, 2, 3, 3)], height=8, output="c")
    card, data = card_of(model, "c")
    return card, deepest(card, data).chain(1)


ROW = 2 * WIDTH * 2 * 9
"""Multiply-accumulates of one row of either convolution."""


def test_rows_in_the_halo_are_computed_by_both_neighbours() -> None:
    _, chain = two_convolutions()
    # Rows 0:2 of the pooled are 0:4 of the second convolution and 0:5 of the first.
    assert band_macs(chain, (0, 2)) == ((4 + 5) * ROW,)
    assert band_macs(chain, (2, 4)) == ((4 + 5) * ROW,)
    assert band_macs(chain, (1, 2)) == ((2 + 4) * ROW,)
    assert band_macs(chain, (0, 4)) == (16 * ROW,)
    assert halo_macs(chain, [(0, 2), (2, 4)]) == 2 * ROW


def test_the_fraction_of_a_block_is_that_of_its_multiplications() -> None:
    _, chain = two_convolutions()
    assert band_fractions(chain, (0, 2)) == pytest.approx([9 / 16])


def test_the_fraction_of_a_block_that_multiplies_nothing_is_that_of_its_rows() -> None:
    card, data = card_of(model_of([helper.make_node("Relu", ["x"], ["a"])], [], height=8, output="a"), "a")
    assert band_fractions(deepest(card, data).chain(1), (2, 4)) == pytest.approx([1 / 4])


def test_bytes_are_those_of_the_rows_taken_and_given() -> None:
    _, chain = two_convolutions()
    assert band_bytes(chain, (0, 2)) == (6 * 2 * WIDTH * 4, 2 * 2 * WIDTH * 4)


def test_a_band_takes_less_memory_than_the_stage_by_what_its_activations_are_fewer() -> None:
    card, chain = two_convolutions()
    blocks = [block.model_copy(update={"peak_activation_bytes": 2 * 8 * WIDTH * 2 * 4}) for block in card.blocks]
    card = card.model_copy(update={"blocks": tuple(blocks)})
    whole, half = band_memory_bytes(card, chain, (0, 4)), band_memory_bytes(card, chain, (0, 2))
    assert half < whole
    # But for the nodes that crop, all rows are as much as the stage.
    assert whole - stage_memory_bytes(card, 0, 1) == pytest.approx(3 * 12_000)


@given(st.data())
def test_no_band_costs_more_than_the_whole(data: st.DataObject) -> None:
    model, output = data.draw(divisible())
    card, blob = card_of(model, output)
    possible = deepest(card, blob)
    assume(possible.lasts)
    chain = possible.chain(1)
    whole = band_macs(chain, (0, chain.height))
    for gives in data.draw(divisions(chain.height)):
        assert band_macs(chain, gives)[0] <= whole[0]
        assert all(0 < fraction <= 1 for fraction in band_fractions(chain, gives))
        taken, given_ = band_bytes(chain, gives)
        assert 0 < taken <= card.cuts[0].nbytes
        assert 0 < given_ <= card.cuts[1].nbytes
