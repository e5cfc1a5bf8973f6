"""However a model is cut into stages, the chained stages answer as the model did before it came here."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from models.catalog import LITE, PACKAGED, TORCHVISION, resolve
from models.library import BlobStore, Library
from models.rows.band import load_band
from models.rows.join import cut_rows, join
from models.rows.legal import deepest
from models.rows.needed import rows_needed
from models.rows.shares import bands
from models.rows.specs import input_axis
from models.runtime import Backend, load_stage
from models.torch_source import build
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


@pytest.fixture(scope="session")
def original(skipping_path: Path) -> Callable[[str, dict[str, Array]], list[Array]]:
    """The outputs of a model that never was a card: PyTorch's own module, or the file that was imported.

    Nothing of import, cutting or blobs is between: pictures are prepared here, as torchvision documents it.
    """

    answers: dict[str, list[Array]] = {}

    def run(name: str, inputs: dict[str, Array]) -> list[Array]:
        if name not in answers:
            answers[name] = in_torch(name, inputs) if name != "skipping" else in_onnxruntime(skipping_path, inputs)
        return answers[name]

    return run


def in_onnxruntime(path: Path, inputs: dict[str, Array]) -> list[Array]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs: list[Array] = session.run(None, inputs)
    return outputs


def in_torch(name: str, inputs: dict[str, Array]) -> list[Array]:
    made = build(resolve(name), weights="default" if name == LITE else "random", seed=1, input_shape=None)
    assert made.picture is not None
    [picture] = inputs.values()
    planes = torch.from_numpy(picture).permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(each).double().reshape(1, 3, 1, 1) for each in (made.picture.mean, made.picture.std))
    with torch.inference_mode():
        scores: Array = made.module(((planes - mean) / std).float()).numpy()
    return [scores]


@pytest.mark.parametrize("name", [*TORCHVISION, LITE, "skipping"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_cut_anywhere_answers_as_the_original_does(
    *,
    name: str,
    backend: Backend,
    library: Library,
    imported: Callable[[str], ModelCard],
    original: Callable[[str, dict[str, Array]], list[Array]],
    example_inputs: Callable[[ModelCard], dict[str, Array]],
) -> None:
    card = imported(name)
    inputs = example_inputs(card)
    right = original(name, inputs)
    blocks = len(card.blocks)
    rng = random.Random(name)
    partitions = [[0, blocks]]
    for _ in range(PARTITIONS - 1):
        stages = rng.randint(2, min(6, blocks))
        partitions.append([0, *sorted(rng.sample(range(1, blocks), stages - 1)), blocks])
    for edges in partitions:
        answers = run_stages(card, library.blobs, edges, inputs, backend)
        assert list(answers) == [spec.name for spec in card.outputs]
        for output, expected in zip(answers.values(), right, strict=True):
            np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5, err_msg=f"{name} {edges}")


@pytest.mark.parametrize("name", [*TORCHVISION, LITE, *PACKAGED])
def test_bands_of_rows_join_to_what_one_device_makes_and_the_answer_is_the_same_to_the_last_bit(
    name: str,
    library: Library,
    imported: Callable[[str], ModelCard],
    example_inputs: Callable[[ModelCard], dict[str, Array]],
) -> None:
    card = imported(name)
    possible = deepest(card, library.blobs.read(card.graph.sha256))
    [(picture, pixels)] = example_inputs(card).items()
    [answer] = load_stage(card, library.blobs, 0, len(card.blocks)).run({picture: pixels}).values()
    # As far as it goes, and somewhere before: three devices, one of them slow.
    for last in (possible.lasts[-1], possible.lasts[len(possible.lasts) // 3]):
        chain = possible.chain(last)
        [right] = load_stage(card, library.blobs, 0, last).run({picture: pixels}).values()
        parts = []
        for gives in filter(None, bands(chain.height, [1.0, 0.4, 0.8])):
            takes = rows_needed(chain, gives)
            band = load_band(card, library.blobs, last, takes, gives)
            [part] = band.run({picture: cut_rows(pixels, takes, input_axis(card))}).values()
            parts.append(part)
            band.close()
        np.testing.assert_array_equal(join(parts), right, err_msg=f"{name} {last}")
        behind = load_stage(card, library.blobs, last, len(card.blocks))
        [answered] = behind.run({card.cuts[last].tensors[0].name: join(parts)}).values()
        np.testing.assert_array_equal(answered, answer, err_msg=f"{name} {last}, and all behind it")
