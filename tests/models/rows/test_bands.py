"""Bands computed by themselves and joined are what the undivided model makes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from row_graphs import WIDTH, card_of, divisible, divisions, model_of, weight, whole

from models.library import BlobStore, MissingBlobError
from models.rows.band import band_model, load_band
from models.rows.chain import RowsError
from models.rows.join import cut_rows, join
from models.rows.legal import deepest
from models.rows.needed import rows_needed
from models.rows.specs import input_axis
from models.runtime import Backend, load_stage
from models.runtime.checks import WrongInputError
from schemas.codec import Array
from schemas.model import ModelCard


def some_input(card: ModelCard) -> Array:
    return np.random.default_rng(5).standard_normal(card.inputs[0].shape).astype(np.float32)


def undivided(card: ModelCard, store: BlobStore, x: Array, backend: Backend = "onnxruntime") -> Array:
    [made] = load_stage(card, store, 0, 1, backend=backend).run({card.inputs[0].name: x}).values()
    return made


def divided(
    card: ModelCard, store: BlobStore, x: Array, rows: list[tuple[int, int]], *, backend: Backend = "onnxruntime"
) -> Array:
    chain = deepest(card, store.read(card.graph.sha256)).chain(1)
    parts = []
    for gives in rows:
        takes = rows_needed(chain, gives)
        band = load_band(card, store, 1, takes, gives, backend=backend)
        [made] = band.run({card.inputs[0].name: cut_rows(x, takes, input_axis(card))}).values()
        assert made.shape == band.outputs[0].shape
        parts.append(made)
        band.close()
    return join(parts)


@settings(max_examples=60)
@given(st.data())
def test_any_chain_in_any_bands_gives_what_the_undivided_model_gives(data: st.DataObject) -> None:
    # Whole numbers, which are exact: with others the runtime's order of summation depends on a tensor's size.
    model, output = data.draw(divisible(exact=True))
    with tempfile.TemporaryDirectory() as folder:
        store = BlobStore(Path(folder))
        card, blob = card_of(model, output, store)
        possible = deepest(card, blob)
        assume(possible.lasts)
        x = np.round(2 * some_input(card))
        rows = data.draw(divisions(possible.boundary(1).height))
        np.testing.assert_array_equal(divided(card, store, x, rows), undivided(card, store, x))


@settings(max_examples=15)
@given(st.data())
def test_the_torch_backend_gives_it_too(data: st.DataObject) -> None:
    model, output = data.draw(divisible())
    with tempfile.TemporaryDirectory() as folder:
        store = BlobStore(Path(folder))
        card, blob = card_of(model, output, store)
        possible = deepest(card, blob)
        assume(possible.lasts)
        x = some_input(card)
        rows = data.draw(divisions(possible.boundary(1).height))
        right = undivided(card, store, x, "torch")
        np.testing.assert_allclose(divided(card, store, x, rows, backend="torch"), right, rtol=1e-5, atol=1e-6)


SAME = {"pads": [1, 1, 1, 1]}


@pytest.fixture
def two_convolutions(tmp_path: Path) -> tuple[ModelCard, BlobStore]:
    """8 rows in, 4 rows out."""
    store = BlobStore(tmp_path)
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], **SAME),
        helper.make_node("Conv", ["a", "w2"], ["b"], **SAME),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 1], strides=[2, 1]),
    ]
    model = model_of(nodes, [weight("w1", 2, 2, 3, 3), weight("w2", 2, 2, 3, 3)], height=8, output="c")
    return card_of(model, "c", store)[0], store


def test_a_band_pads_only_where_the_picture_ends(two_convolutions: tuple[ModelCard, BlobStore]) -> None:
    card, store = two_convolutions

    def pads(takes: tuple[int, int], gives: tuple[int, int]) -> list[list[int]]:
        nodes = band_model(card, store, 1, takes, gives).model.graph.node
        return [
            list(helper.get_attribute_value(attribute))
            for node in nodes
            for attribute in node.attribute
            if attribute.name == "pads" and node.op_type == "Conv"
        ]

    assert pads((0, 6), (0, 2)) == [[1, 1, 0, 1], [1, 1, 0, 1]]
    assert pads((0, 8), (1, 3)) == [[0, 1, 0, 1], [0, 1, 0, 1]]
    assert pads((2, 8), (2, 4)) == [[0, 1, 1, 1], [0, 1, 1, 1]]
    assert pads((0, 8), (0, 4)) == [[1, 1, 1, 1], [1, 1, 1, 1]]


def test_rows_given_beyond_what_is_needed_are_cut_away(two_convolutions: tuple[ModelCard, BlobStore]) -> None:
    card, store = two_convolutions
    x = some_input(card)
    [made] = load_band(card, store, 1, (1, 8), (2, 4)).run({"x": x[:, :, 1:8]}).values()
    np.testing.assert_array_equal(made, undivided(card, store, x)[:, :, 2:4])


def test_a_band_says_what_it_takes_and_gives(two_convolutions: tuple[ModelCard, BlobStore]) -> None:
    card, store = two_convolutions
    band = load_band(card, store, 1, (0, 6), (0, 2))
    assert [str(spec) for spec in (*band.inputs, *band.outputs)] == ["x float32[1x2x6x5]", "c float32[1x2x2x5]"]
    assert band.memory_bytes > 10_000_000
    with pytest.raises(WrongInputError, match="1x2x6x5"):
        band.run({"x": np.zeros((1, 2, 8, WIDTH), np.float32)})


@pytest.mark.parametrize(
    ("last", "takes", "gives", "says"),
    [
        (1, (0, 5), (0, 2), "need rows 0:6 of x; the band takes only 0:5"),
        (1, (3, 8), (2, 4), "need rows 2:8 of x; the band takes only 3:8"),
        (1, (0, 8), (0, 5), "has no rows 0:5"),
        (1, (0, 9), (0, 4), "has no rows 0:9"),
        (2, (0, 8), (0, 1), "bands cannot end before block 2"),
        (0, (0, 8), (0, 1), "bands cannot end before block 0"),
    ],
)
def test_a_band_that_cannot_be_is_refused(
    last: int,
    takes: tuple[int, int],
    gives: tuple[int, int],
    says: str,
    two_convolutions: tuple[ModelCard, BlobStore],
) -> None:
    card, store = two_convolutions
    with pytest.raises(RowsError, match=says):
        load_band(card, store, last, takes, gives)


def test_a_graph_blob_that_is_not_here_says_what_to_do(
    tmp_path: Path, two_convolutions: tuple[ModelCard, BlobStore]
) -> None:
    with pytest.raises(MissingBlobError, match="fetch it from the hub"):
        load_band(two_convolutions[0], BlobStore(tmp_path / "empty"), 1, (0, 6), (0, 2))


OLD = {
    "pads as an attribute": ([helper.make_node("Pad", ["x"], ["a"], pads=[0, 0, 2, 0, 0, 0, 1, 0])], []),
    "a residual to crop": (
        [
            helper.make_node("Conv", ["x", "w"], ["c"], **SAME),
            helper.make_node("Add", ["c", "x"], ["a"]),
        ],
        [weight("w", 2, 2, 3, 3)],
    ),
}


@pytest.mark.parametrize("name", OLD)
def test_graphs_of_old_opsets_are_divided_in_their_own_words(name: str, tmp_path: Path) -> None:
    nodes, constants = OLD[name]
    store = BlobStore(tmp_path)
    card, _ = card_of(model_of(nodes, constants, height=9, output="a", opset=9), "a", store)
    x = some_input(card)
    height = card.cuts[1].tensors[0].shape[2]
    rows = [(0, 1), (1, 6), (6, height)]
    np.testing.assert_array_equal(divided(card, store, x, rows), undivided(card, store, x))


ODD: dict[str, tuple[list[onnx.NodeProto], list[TensorProto]]] = {
    "padding chosen by the runtime": (
        [helper.make_node("Conv", ["x", "w"], ["a"], auto_pad="SAME_LOWER", strides=[2, 2])],
        [weight("w", 2, 2, 4, 3)],
    ),
    "a mean that counts its padding, and no more": (
        [
            helper.make_node(
                "AveragePool",
                ["x"],
                ["a"],
                kernel_shape=[3, 3],
                strides=[2, 2],
                pads=[1, 1, 1, 1],
                ceil_mode=1,
                count_include_pad=1,
            )
        ],
        [],
    ),
    "nothing but padding": (
        [
            helper.make_node("Pad", ["x", "p", "", "axes"], ["b"]),
            helper.make_node("Conv", ["b", "w"], ["a"]),
        ],
        [whole("p", 4, 3), whole("axes", 2), weight("w", 2, 2, 1, 1)],
    ),
    "padding given away as it is": (
        [helper.make_node("Pad", ["x", "p", "", "axes"], ["a"])],
        [whole("p", 4, 3), whole("axes", 2)],
    ),
    "constants computed on the way": (
        [
            helper.make_node("Mul", ["w", "w"], ["v"]),
            helper.make_node("Conv", ["x", "v"], ["a"], **SAME),
        ],
        [weight("w", 2, 2, 3, 3)],
    ),
    "one of two parts": (
        [
            helper.make_node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2),
        ],
        [],
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_graphs_row_by_row_give_what_the_undivided_model_gives(name: str, tmp_path: Path) -> None:
    nodes, constants = ODD[name]
    store = BlobStore(tmp_path)
    card, _ = card_of(model_of(nodes, constants, height=9, output="a"), "a", store)
    x = some_input(card)
    rows = [(i, i + 1) for i in range(card.cuts[1].tensors[0].shape[2])]
    np.testing.assert_array_equal(divided(card, store, x, rows), undivided(card, store, x))
