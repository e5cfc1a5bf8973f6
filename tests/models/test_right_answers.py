"""However a model is cut into stages, the chained stages answer as the whole does."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from models.catalog import LITE, TORCHVISION
from models.library import BlobStore, Library
from models.runtime import Backend, load_stage
from schemas.codec import Array
from schemas.model import ModelCard

BACKENDS: tuple[Backend, ...] = ("onnxruntime", "torch")
PARTITIONS = 3


def run_stages(
    card: ModelCard, store: BlobStore, edges: list[int], inputs: dict[str, Array], backend: Backend
) -> dict[str, Array]:
    tensors = inputs
    for first, last in pairwise(edges):
        stage = load_stage(card, store, first, last, backend=backend)
        tensors = stage.run(tensors)
        assert {name: array.shape for name, array in tensors.items()} == {s.name: s.shape for s in stage.outputs}
        stage.close()
    return tensors


@pytest.mark.parametrize("name", [*TORCHVISION, LITE, "skipping"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_cut_anywhere_answers_as_the_whole_does(
    name: str,
    backend: Backend,
    library: Library,
    imported: Callable[[str], ModelCard],
    example_inputs: Callable[[ModelCard], dict[str, Array]],
) -> None:
    card = imported(name)
    inputs = example_inputs(card)
    blocks = len(card.blocks)
    whole = run_stages(card, library.blobs, [0, blocks], inputs, "onnxruntime")
    rng = random.Random(name)
    for _ in range(PARTITIONS):
        stages = rng.randint(2, min(6, blocks))
        edges = [0, *sorted(rng.sample(range(1, blocks), stages - 1)), blocks]
        chained = run_stages(card, library.blobs, edges, inputs, backend)
        assert chained.keys() == whole.keys()
        for tensor in whole:
            np.testing.assert_allclose(chained[tensor], whole[tensor], rtol=1e-4, atol=1e-5, err_msg=f"{name} {edges}")
