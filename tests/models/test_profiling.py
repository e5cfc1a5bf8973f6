"""Profiling a model on this device with nothing but its graph."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.blobs import MissingBlobError
from models.importer import import_model
from models.library import BlobStore, Library
from models.made_up import MadeUpWeights, made_up_tensor
from models.profiling import ProfiledBlocks, ProfilingStoppedError, profile_blocks
from models.runtime import Backend
from models.weights import Weight
from schemas.model import ModelCard, TensorSpec


@pytest.fixture
def uneven(tmp_path: Path) -> tuple[Library, ModelCard]:
    """Three convolutions; the middle one multiplies a hundred times as much as its neighbours."""
    rng = np.random.default_rng(1)
    nodes, weights = [], []
    for i, (channels_in, channels_out, kernel) in enumerate([(3, 64, 1), (64, 64, 3), (64, 4, 1)]):
        shape = (channels_out, channels_in, kernel, kernel)
        weights.append(numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), f"w{i}"))
        pad = kernel // 2
        nodes.append(
            helper.make_node(
                "Conv", [f"x{i}", f"w{i}"], [f"x{i + 1}"], f"conv{i}", pads=[pad] * 4, kernel_shape=[kernel] * 2
            )
        )
    graph = helper.make_graph(
        nodes,
        "uneven",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, [1, 3, 40, 40])],
        [helper.make_tensor_value_info("x3", TensorProto.FLOAT, [1, 4, 40, 40])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "u.onnx")
    library = Library(tmp_path / "library")
    return library, import_model(str(tmp_path / "u.onnx"), library)


def profiled(card: ModelCard, store: BlobStore, **options: object) -> ProfiledBlocks:
    return profile_blocks(card, store, budget_s=0.2, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_every_block_gets_a_figure_and_the_heaviest_gets_most(
    backend: Backend, uneven: tuple[Library, ModelCard]
) -> None:
    library, card = uneven
    result = profiled(card, library.blobs, backend=backend)
    assert len(result.block_ms) == len(card.blocks) == 3
    assert max(result.block_ms) == result.block_ms[1] > 0
    assert result.stage_overhead_ms >= 0
    assert result.rounds >= 3


def test_the_graph_blob_is_all_that_is_needed(uneven: tuple[Library, ModelCard], tmp_path: Path) -> None:
    library, card = uneven
    bare = BlobStore(tmp_path / "bare")
    bare.add(library.blobs.read(card.graph.sha256))
    assert card.blobs
    assert not any(bare.has(blob.sha256) for blob in card.blobs)
    assert len(profiled(card, bare).block_ms) == 3
    assert len(profile_blocks(card, library.blobs.read(card.graph.sha256), budget_s=0.01).block_ms) == 3


def test_a_missing_graph_is_an_error_that_says_what_to_do(uneven: tuple[Library, ModelCard], tmp_path: Path) -> None:
    with pytest.raises(MissingBlobError, match="fetch it"):
        profiled(uneven[1], BlobStore(tmp_path / "nothing"))


def test_a_model_with_several_tensors_at_a_cut_and_one_of_a_single_block_are_profiled(
    tiny_library: tuple[Library, ModelCard],
) -> None:
    library, card = tiny_library
    assert len(profiled(card, library.blobs).block_ms) == len(card.blocks)


def test_with_little_memory_blocks_are_measured_one_after_another(uneven: tuple[Library, ModelCard]) -> None:
    library, card = uneven
    result = profiled(card, library.blobs, memory_budget_bytes=1)
    assert len(result.block_ms) == 3
    assert max(result.block_ms) == result.block_ms[1]


def test_profiling_stops_when_it_is_told_to_and_leaves_nothing_behind(
    uneven: tuple[Library, ModelCard], tmp_path: Path
) -> None:
    library, card = uneven
    polled: list[None] = []

    def after_ten() -> bool:
        polled.append(None)
        return len(polled) > 10

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(ProfilingStoppedError, match="again"):
        profile_blocks(card, library.blobs, budget_s=60, should_stop=after_ten, scratch=scratch)
    assert len(polled) == 11
    assert not list(scratch.iterdir())


def test_progress_grows_to_one(uneven: tuple[Library, ModelCard]) -> None:
    library, card = uneven
    shares: list[float] = []
    profiled(card, library.blobs, progress=shares.append, memory_budget_bytes=1)
    assert all(one < other for one, other in pairwise(shares))
    assert shares[-1] == pytest.approx(1)


FLOATS = TensorSpec(name="w", dtype="float32", shape=(300, 300, 3, 3))


def weight(spec: TensorSpec, letter: str) -> Weight:
    return Weight(spec, letter * 64)


def test_made_up_weights_are_of_the_right_size_and_sensible_scale(tmp_path: Path) -> None:
    weights = MadeUpWeights(tmp_path)
    index = TensorSpec(name="i", dtype="int64", shape=(5000,))
    vector = TensorSpec(name="v", dtype="float32", shape=(5000,))
    weights.have([weight(FLOATS, "a"), weight(index, "b"), weight(vector, "c")])
    floats = np.fromfile(tmp_path / ("a" * 64), np.float32)
    assert floats.nbytes == FLOATS.nbytes
    assert float(floats.std()) == pytest.approx(np.sqrt(2 / 2700), rel=0.05)
    assert not (np.abs(floats[floats != 0]) < np.finfo(np.float32).tiny).any()
    assert not np.fromfile(tmp_path / ("b" * 64), np.int64).any()
    assert (np.fromfile(tmp_path / ("c" * 64), np.float32) > 0).all()


def test_made_up_weights_keep_only_what_is_asked_for(tmp_path: Path) -> None:
    weights = MadeUpWeights(tmp_path)
    weights.have([weight(FLOATS, "a"), weight(FLOATS, "b")])
    weights.have([weight(FLOATS, "b")])
    assert [path.name for path in tmp_path.iterdir()] == ["b" * 64]


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int64", "bool"])
def test_made_up_tensors_have_the_type_and_shape_asked_for(dtype: str) -> None:
    spec = TensorSpec.model_validate({"name": "t", "dtype": dtype, "shape": (1, 3, 5)})
    made = made_up_tensor(spec)
    assert made.dtype.name == dtype
    assert made.shape == (1, 3, 5)
