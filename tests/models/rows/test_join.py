"""Bands cut from a picture and joined again."""

from __future__ import annotations

import numpy as np
import pytest
from row_graphs import card_of, model_of

from models.rows.chain import RowsError
from models.rows.join import cut_rows, join
from models.rows.specs import band_input, band_output, input_axis
from schemas.model import ModelCard, Preprocess


def test_what_is_cut_without_a_halo_joins_to_what_it_was() -> None:
    tensor = np.arange(2 * 3 * 7 * 5).reshape(2, 3, 7, 5)
    for axis in range(4):
        rows = tensor.shape[axis]
        parts = [cut_rows(tensor, (0, 1), axis), cut_rows(tensor, (1, rows), axis)]
        assert all(part.flags.c_contiguous for part in parts)
        assert np.array_equal(join(parts, axis), tensor)


def test_a_single_band_is_not_copied() -> None:
    part = np.zeros((1, 2, 3, 4))
    assert join([part]) is part


@pytest.mark.parametrize("takes", [(0, 0), (2, 1), (-1, 2), (0, 8)])
def test_rows_that_a_tensor_does_not_have_cannot_be_cut(takes: tuple[int, int]) -> None:
    with pytest.raises(RowsError, match=r"\[1, 7, 5, 3\] has no rows"):
        cut_rows(np.zeros((1, 7, 5, 3)), takes, 1)
    with pytest.raises(RowsError, match="no rows"):
        cut_rows(np.zeros(3), takes, 1)


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [np.zeros(3), np.zeros(3)],
        [np.zeros((1, 2, 3, 4)), np.zeros((1, 2, 3, 5))],
        [np.zeros((1, 2, 3, 4)), np.zeros((1, 3, 3, 4))],
        [np.zeros((1, 2, 3, 4)), np.zeros((1, 2, 3, 4), np.float32)],
        [np.zeros((1, 2, 3, 4)), np.zeros((1, 2, 3))],
    ],
)
def test_parts_that_differ_in_more_than_their_rows_do_not_join(parts: list[np.ndarray]) -> None:
    with pytest.raises(RowsError, match="join"):
        join(parts)


@pytest.fixture
def card() -> ModelCard:
    from onnx import helper

    model = model_of([helper.make_node("Relu", ["x"], ["a"])], [], height=6, output="a")
    return card_of(model, "a")[0]


def test_a_band_takes_and_gives_rows_of_what_the_card_says(card: ModelCard) -> None:
    assert str(band_input(card, (1, 3))) == "x float32[1x2x2x5]"
    assert str(band_output(card, 1, (0, 4))) == "a float32[1x2x4x5]"


def test_rows_of_a_picture_are_its_second_axis(card: ModelCard) -> None:
    assert input_axis(card) == 2
    assert input_axis(card.model_copy(update={"preprocess": Preprocess(resize=256, crop=224)})) == 1


@pytest.mark.parametrize("last", [0, 2, -1])
def test_bands_end_at_a_cut_inside_the_model(last: int, card: ModelCard) -> None:
    with pytest.raises(RowsError, match="bands cannot end before block"):
        band_output(card, last, (0, 1))


def test_bands_give_one_tensor(card: ModelCard) -> None:
    cut = card.cuts[1].model_copy(update={"tensors": card.cuts[1].tensors * 2})
    with pytest.raises(RowsError, match="2 tensors cross"):
        band_output(card.model_copy(update={"cuts": (card.cuts[0], cut, card.cuts[2])}), 1, (0, 1))
    with pytest.raises(RowsError, match="takes 2 inputs"):
        band_input(card.model_copy(update={"inputs": card.inputs * 2}), (0, 1))


@pytest.mark.parametrize("rows", [(0, 7), (-1, 2), (3, 3)])
def test_rows_beyond_the_card_are_refused(rows: tuple[int, int], card: ModelCard) -> None:
    with pytest.raises(RowsError, match="has no rows"):
        band_input(card, rows)
