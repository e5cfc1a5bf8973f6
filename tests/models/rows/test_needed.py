"""Which rows a band needs, by hand and against every single row counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rows.chain import ONE_TO_ONE, Reach, RowChain, RowsError, RowStep, RowTensor
from models.rows.needed import rows_by_tensor, rows_needed


def chain(height: int, *steps: tuple[str, str, Reach, int]) -> RowChain:
    """From `x`; each step reads, makes, how, and how many rows come out."""
    tensors = {"x": RowTensor("x", (1, 1, height, 1), 2, "float32")}
    rows = []
    for i, (read, made, reach, out) in enumerate(steps):
        tensors[made] = RowTensor(made, (1, 1, out, 1), 2, "float32")
        rows.append(RowStep(i, 0, "Conv", tuple((name, reach) for name in read.split("+")), (made,), 0))
    return RowChain(1, "x", steps[-1][1], tensors, tuple(rows))


@pytest.mark.parametrize(
    ("reach", "height", "out", "gives", "takes"),
    [
        (Reach(3, 1, 1), 8, 8, (2, 5), (1, 6)),
        (Reach(3, 1, 1), 8, 8, (0, 4), (0, 5)),
        (Reach(3, 1, 1), 8, 8, (4, 8), (3, 8)),
        (Reach(2, 2, 0), 8, 4, (1, 3), (2, 6)),
        (Reach(7, 2, 3), 224, 112, (0, 56), (0, 114)),
        (Reach(7, 2, 3), 224, 112, (56, 112), (109, 224)),
        (Reach(5, 1, 0), 9, 5, (2, 3), (2, 7)),
        (Reach(1, 3, 0), 10, 4, (1, 3), (3, 7)),
        (ONE_TO_ONE, 8, 8, (3, 4), (3, 4)),
    ],
)
def test_one_window_takes_the_rows_that_were_counted_by_hand(
    reach: Reach, height: int, out: int, gives: tuple[int, int], takes: tuple[int, int]
) -> None:
    assert rows_needed(chain(height, ("x", "y", reach, out)), gives) == takes


def test_two_convolutions_and_a_pooling_take_the_sum_of_their_halos() -> None:
    three = Reach(3, 1, 1)
    fused = chain(16, ("x", "a", three, 16), ("a", "b", three, 16), ("b", "y", Reach(2, 2), 8))
    # Rows 2:4 pooled are 4:8, made of 3:9, made of 2:10.
    assert rows_by_tensor(fused, (2, 4)) == {"y": (2, 4), "b": (4, 8), "a": (3, 9), "x": (2, 10)}


def test_a_tensor_with_two_readers_is_needed_from_the_first_row_to_the_last_that_any_of_them_needs() -> None:
    fused = chain(12, ("x", "a", Reach(5, 1, 2), 12), ("x+a", "y", ONE_TO_ONE, 12))
    assert rows_by_tensor(fused, (4, 6)) == {"y": (4, 6), "a": (4, 6), "x": (2, 8)}


def test_a_band_of_nothing_but_padding_is_given_the_row_beside_it() -> None:
    padded = chain(4, ("x", "y", Reach(before=3), 10))
    assert rows_needed(padded, (0, 2)) == (0, 1)
    assert rows_needed(padded, (8, 10)) == (3, 4)


@pytest.mark.parametrize("gives", [(0, 0), (3, 2), (-1, 2), (0, 9)])
def test_rows_that_the_output_does_not_have_are_refused(gives: tuple[int, int]) -> None:
    with pytest.raises(RowsError, match="y has rows 0:8"):
        rows_needed(chain(8, ("x", "y", Reach(3, 1, 1), 8)), gives)


@given(st.data())
def test_however_windows_follow_one_another_the_rows_are_those_counted_one_by_one(data: st.DataObject) -> None:
    height = data.draw(st.integers(4, 30), label="height")
    steps = []
    heights = [height]
    for i in range(data.draw(st.integers(1, 5), label="steps")):
        span = data.draw(st.integers(1, 5))
        before, after = (data.draw(st.integers(0, span - 1)) for _ in range(2))
        stride = data.draw(st.integers(1, 3))
        out = (heights[-1] + before + after - span) // stride + 1
        if out < 1:
            break
        steps.append((f"t{i - 1}" if i else "x", f"t{i}", Reach(span, stride, before), out))
        heights.append(out)
    if not steps:
        return
    first = data.draw(st.integers(0, heights[-1] - 1))
    last = data.draw(st.integers(first + 1, heights[-1]))
    counted = set(range(first, last))
    for (_, _, reach, _), rows in zip(reversed(steps), reversed(heights[:-1]), strict=True):
        touched = {o * reach.stride - reach.before + i for o in counted for i in range(reach.span)}
        # A band holds rows without gaps, also where a stride beyond the window skips some.
        existing = sorted(touched & set(range(rows)))
        counted = set(range(existing[0], existing[-1] + 1))
    assert rows_needed(chain(height, *steps), (first, last)) == (min(counted), max(counted) + 1)
