"""Models shared by the tests: a hand-made graph in milliseconds, and each real network imported once per session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.catalog import LITE
from models.importer import import_model
from models.library import Library
from schemas.codec import Array
from schemas.model import ModelCard


def skipping_model() -> onnx.ModelProto:
    """Two inputs, two outputs, a skip over everything, branches, an output made early: every kind of cut at once."""
    rng = np.random.default_rng(7)

    def weight(name: str, *shape: int) -> TensorProto:
        fan_in = int(np.prod(shape[1:]))
        return numpy_helper.from_array((rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32), name)

    node = helper.make_node
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["image", "w1"], ["c1"], "conv1", **same),
        node("Relu", ["c1"], ["r1"], "relu1"),
        node("Conv", ["r1", "w2"], ["c2"], "conv2", **same),
        node("Relu", ["c2"], ["r2"], "relu2"),
        node("GlobalAveragePool", ["r2"], ["pooled"], "pool_early"),
        node("Flatten", ["pooled"], ["early"], "flatten_early"),
        node("Conv", ["r2", "w3"], ["c3"], "conv3", **same),
        node("Add", ["c3", "r1"], ["sum1"], "skip1"),
        node("Conv", ["sum1", "w4"], ["c4"], "conv4", **same),
        node("Concat", ["c4", "r1"], ["wide"], "join", axis=1),
        node("GlobalAveragePool", ["wide"], ["pooled2"], "pool"),
        node("Flatten", ["pooled2"], ["flat"], "flatten"),
        node("Concat", ["flat", "hint"], ["both"], "hinted", axis=1),
        node("Gemm", ["both", "w5"], ["scores"], "score", transB=1),
    ]
    weights = [
        weight("w1", 16, 3, 3, 3),
        weight("w2", 16, 16, 3, 3),
        weight("w3", 16, 16, 3, 3),
        weight("w4", 32, 16, 3, 3),
        weight("w5", 10, 52),
    ]
    graph = helper.make_graph(
        nodes,
        "skipping",
        [
            helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 12, 12]),
            helper.make_tensor_value_info("hint", TensorProto.FLOAT, [1, 4]),
        ],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 10]),
            helper.make_tensor_value_info("early", TensorProto.FLOAT, [1, 16]),
        ],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture(scope="session")
def skipping_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "skipping.onnx"
    onnx.save(skipping_model(), path)
    return path


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """One library for the session; tests read from it, and import into it through `imported`."""
    return Library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="session")
def imported(library: Library, skipping_path: Path) -> Callable[[str], ModelCard]:
    """Imports a model once per session: random weights, except EfficientNet-Lite0's own."""
    cards: dict[str, ModelCard] = {}

    def get(name: str) -> ModelCard:
        if name not in cards:
            source = str(skipping_path) if name == "skipping" else name
            cards[name] = import_model(source, library, weights="default" if name == LITE else "random", seed=1)
        return cards[name]

    return get


@pytest.fixture(scope="session")
def tiny(imported: Callable[[str], ModelCard]) -> ModelCard:
    """The hand-made model's card; its blobs are in `library`."""
    return imported("skipping")


@pytest.fixture
def tiny_library(library: Library, tiny: ModelCard) -> tuple[Library, ModelCard]:
    return library, tiny


@pytest.fixture
def example_inputs() -> Callable[[ModelCard], dict[str, Array]]:
    """Inputs of a card's types and shapes, made up but the same each time."""

    def make(card: ModelCard) -> dict[str, Array]:
        rng = np.random.default_rng(3)
        return {
            spec.name: (
                rng.integers(0, 256, spec.shape).astype(spec.dtype)
                if spec.dtype == "uint8"
                else rng.standard_normal(spec.shape).astype(spec.dtype)
            )
            for spec in card.inputs
        }

    return make
