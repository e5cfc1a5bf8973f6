"""Cutting a stage out of a graph blob that nobody vouches for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from models.library import BlobStore, Library, MissingBlobError, WrongHashError
from models.runtime import load_stage
from models.stage import BadGraphError, StageSlice, cut_stage, stage_model
from schemas.model import ModelCard


@pytest.fixture
def graph(library: Library, tiny: ModelCard) -> onnx.ModelProto:
    """The hand-made model's graph blob, to be tampered with."""
    return onnx.ModelProto.FromString(library.blobs.read(tiny.graph.sha256))


def cut_whole(card: ModelCard, graph: onnx.ModelProto) -> StageSlice:
    return cut_stage(card, graph.SerializeToString(), 0, len(card.blocks))


def test_a_slice_holds_its_own_nodes_and_weights_only(library: Library, tiny: ModelCard) -> None:
    middle = stage_model(tiny, library.blobs, 1, 2)
    assert len(middle.model.graph.node) == tiny.blocks[1].last_node - tiny.blocks[1].first_node
    reads = {name for node in middle.model.graph.node for name in node.input}
    assert {tensor.name for tensor in middle.model.graph.initializer} <= reads
    assert middle.inputs == tiny.cuts[1].tensors
    assert middle.outputs == tiny.cuts[2].tensors


def test_a_tensor_that_only_passes_by_is_neither_fed_nor_fetched(library: Library, tiny: ModelCard) -> None:
    middle = stage_model(tiny, library.blobs, 1, 2)
    assert "hint" in {spec.name for spec in middle.inputs}
    assert "hint" not in middle.feeds
    assert "hint" not in middle.fetches


def test_large_weights_are_named_by_hash_and_small_ones_are_inside(
    library: Library, imported: Callable[[str], ModelCard]
) -> None:
    card = imported("squeezenet1_1")
    piece = stage_model(card, library.blobs, 0, len(card.blocks))
    assert {weight.sha256 for weight in piece.weights} == {blob.sha256 for blob in card.blobs}
    inside = [t for t in piece.model.graph.initializer if t.data_location != TensorProto.EXTERNAL]
    assert inside
    assert all(tensor.ByteSize() < 17_000 for tensor in inside)


@pytest.mark.parametrize(("first", "last"), [(0, 0), (2, 1), (-1, 1), (0, 99)])
def test_blocks_that_do_not_exist_are_refused(first: int, last: int, library: Library, tiny: ModelCard) -> None:
    with pytest.raises(ValueError, match="there is no stage"):
        stage_model(tiny, library.blobs, first, last)


def test_a_graph_blob_that_is_not_here_says_what_to_do(tmp_path: Path, tiny: ModelCard) -> None:
    with pytest.raises(MissingBlobError, match="fetch it from the hub"):
        stage_model(tiny, BlobStore(tmp_path), 0, 1)


def test_a_graph_blob_with_another_hash_is_not_even_parsed(tmp_path: Path, library: Library, tiny: ModelCard) -> None:
    store = BlobStore(tmp_path)
    store.root.mkdir(exist_ok=True)
    (store.root / tiny.graph.sha256).write_bytes(library.blobs.read(tiny.graph.sha256) + b"\0")
    with pytest.raises(WrongHashError):
        stage_model(tiny, store, 0, 1)


@pytest.mark.parametrize("data", [b"", b"\xff" * 100, b"not a graph", b"\x08\x0a"])
def test_bytes_that_are_no_graph_get_a_clear_error(data: bytes, tiny: ModelCard) -> None:
    with pytest.raises(BadGraphError, match="import the model again"):
        cut_stage(tiny, data, 0, 1)


def test_a_graph_with_more_nodes_than_its_card_says_is_refused(tiny: ModelCard, graph: onnx.ModelProto) -> None:
    graph.graph.node.append(helper.make_node("Relu", ["scores"], ["more"]))
    with pytest.raises(BadGraphError, match="nodes, the card says"):
        cut_whole(tiny, graph)


def test_a_node_that_reads_what_does_not_cross_the_cut_is_refused(tiny: ModelCard, graph: onnx.ModelProto) -> None:
    graph.graph.node[0].input[0] = "smuggled"
    with pytest.raises(BadGraphError, match="read 'smuggled'"):
        cut_whole(tiny, graph)


def test_an_output_that_nothing_makes_is_refused(tiny: ModelCard, graph: onnx.ModelProto) -> None:
    next(node for node in graph.graph.node if "scores" in node.output).output[0] = "renamed"
    with pytest.raises(BadGraphError, match="do not make 'scores'"):
        cut_whole(tiny, graph)


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "../../../etc/passwd", "offset": "0", "length": "1728"},
        {"location": "/etc/passwd", "offset": "0", "length": "1728"},
        {"location": "0" * 64, "offset": "8", "length": "1728"},
        {"location": "0" * 64, "offset": "0", "length": "1727"},
        {"location": "0" * 64, "offset": "0", "length": "1728"},
        {},
    ],
)
def test_a_weight_may_point_only_at_a_whole_blob_of_its_card(
    entries: dict[str, str], tiny: ModelCard, graph: onnx.ModelProto
) -> None:
    tensor = graph.graph.initializer[0]
    point_outside(tensor, entries)
    with pytest.raises(BadGraphError, match="weight"):
        cut_whole(tiny, graph)


def test_a_weight_of_impossible_shape_is_refused(tiny: ModelCard, graph: onnx.ModelProto) -> None:
    tensor = graph.graph.initializer[0]
    point_outside(tensor, {"location": "0" * 64, "offset": "0", "length": "4"})
    tensor.dims[0] = -1
    with pytest.raises(BadGraphError, match="impossible shape"):
        cut_whole(tiny, graph)


def test_a_tensor_inside_a_node_may_not_point_outside(tiny: ModelCard, graph: onnx.ModelProto) -> None:
    hidden = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1])
    point_outside(hidden, {"location": "/etc/passwd"})
    graph.graph.node[0].attribute.append(helper.make_attribute("value", hidden))
    with pytest.raises(BadGraphError, match="points outside the graph"):
        cut_whole(tiny, graph)


def point_outside(tensor: TensorProto, entries: dict[str, str]) -> None:
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def test_a_stage_is_not_loaded_without_all_its_blobs(
    tmp_path: Path, library: Library, imported: Callable[[str], ModelCard]
) -> None:
    card = imported("squeezenet1_1")
    store = BlobStore(tmp_path)
    store.add(library.blobs.read(card.graph.sha256))
    with pytest.raises(MissingBlobError):
        load_stage(card, store, 0, len(card.blocks))
