"""Who gets which rows."""

from __future__ import annotations

import math
from itertools import combinations_with_replacement, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rows.chain import Reach, RowChain, Rows, RowsError, RowStep, RowTensor
from models.rows.cost import band_macs
from models.rows.shares import balance, bands, fastest


@pytest.mark.parametrize(
    ("height", "weights", "expected"),
    [
        (10, [1, 1], ((0, 5), (5, 10))),
        (10, [3, 1], ((0, 8), (8, 10))),
        (10, [1, 1, 1], ((0, 4), (4, 7), (7, 10))),
        (14, [1.0, 0.6, 0.4], ((0, 7), (7, 11), (11, 14))),
        (10, [1, 0, 1], ((0, 5), None, (5, 10))),
        (10, [100, 1], ((0, 10), None)),
        (2, [5, 1, 4], ((0, 1), None, (1, 2))),
        (1, [1, 1, 1], ((0, 1), None, None)),
        (4, [1e308, 1e308], ((0, 2), (2, 4))),
    ],
)
def test_shares_follow_speed_and_nobody_gets_an_empty_band(
    height: int, weights: list[float], expected: tuple[Rows | None, ...]
) -> None:
    assert bands(height, weights) == expected


@given(st.integers(1, 300), st.lists(st.floats(0, 1e6), min_size=1, max_size=8).filter(any))
def test_whatever_the_speeds_every_row_is_somebodys_and_the_shares_are_close_to_them(
    height: int, weights: list[float]
) -> None:
    found = bands(height, weights)
    edges = [edge for rows in found if rows for edge in rows]
    assert edges[0] == 0
    assert edges[-1] == height
    assert edges[1:-1:2] == edges[2::2]
    assert all(rows is None or rows[0] < rows[1] for rows in found)
    kept = math.fsum(weight for weight, rows in zip(weights, found, strict=True) if rows)
    for weight, rows in zip(weights, found, strict=True):
        if rows:
            assert abs((rows[1] - rows[0]) - height * weight / kept) < 1 + 1e-6


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [1.0, -1.0], [1.0, math.inf], [1.0, math.nan]])
def test_weights_that_are_no_speeds_are_refused(weights: list[float]) -> None:
    with pytest.raises(RowsError, match="weights"):
        bands(10, weights)


def test_a_picture_without_rows_cannot_be_divided() -> None:
    with pytest.raises(RowsError, match="0 rows"):
        bands(0, [1.0])
    with pytest.raises(RowsError, match="0 rows"):
        fastest(0, [lambda rows: 1.0])
    with pytest.raises(RowsError, match="infinite"):
        fastest(5, [lambda rows: math.inf])


def halos(height: int, span: int) -> RowChain:
    """Two convolutions with a window of `span` rows and as much padding as keeps the height."""
    tensors = {name: RowTensor(name, (1, 1, height, 1), 2, "float32") for name in "xay"}
    reach = Reach(span, 1, span // 2)
    steps = (
        RowStep(0, 0, "Conv", (("x", reach),), ("a",), 1000 * height),
        RowStep(1, 0, "Conv", (("a", reach),), ("y",), 1000 * height),
    )
    return RowChain(1, "x", "y", tensors, steps)


def test_a_middle_band_has_two_halos_and_so_gets_fewer_rows() -> None:
    found = balance(halos(60, 9), [1.0, 1.0, 1.0])
    # 4 rows of halo in the first convolution for the outer bands, 8 for the one between: 2 * 21 + 4 = 2 * 19 + 8.
    assert found == ((0, 21), (21, 40), (40, 60))


@given(st.data())
def test_no_other_division_is_faster(data: st.DataObject) -> None:
    height = data.draw(st.integers(2, 9))
    chain = halos(height, data.draw(st.sampled_from([1, 3, 5])))
    speeds = data.draw(st.lists(st.sampled_from([1.0, 2.0, 0.3, 0.01]), min_size=1, max_size=3))
    fixed = data.draw(st.lists(st.sampled_from([0.0, 500.0, 1e5]), min_size=len(speeds), max_size=len(speeds)))

    def cost(i: int, rows: Rows) -> float:
        return fixed[i] + sum(band_macs(chain, rows)) / speeds[i]

    costs = [lambda rows, i=i: cost(i, rows) for i in range(len(speeds))]
    found = fastest(height, costs)
    slowest = max(cost(i, rows) for i, rows in enumerate(found) if rows)
    every = combinations_with_replacement(range(height + 1), len(speeds) - 1)
    best = min(
        max(cost(i, rows) for i, rows in enumerate(pairwise([0, *edges, height])) if rows[0] < rows[1])
        for edges in every
    )
    assert slowest <= best * (1 + 1e-5)


def test_a_device_that_would_only_be_in_the_way_is_left_out() -> None:
    assert balance(halos(20, 3), [1.0, 1e-6]) == ((0, 20), None)
    assert balance(halos(20, 3), [0.0, 1.0]) == (None, (0, 20))


def test_speeds_that_are_none_are_refused() -> None:
    with pytest.raises(RowsError, match="weights"):
        balance(halos(20, 3), [0.0])
