"""PyTorch on CUDA, where there is some: stages on the GPU and on the processor make one answer between them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from models.library import Library
from models.runtime import load_stage
from models.runtime.torch_backend import TorchRunner
from schemas.codec import Array
from schemas.model import ModelCard

Inputs = Callable[[ModelCard], dict[str, Array]]

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device here")


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2", "resnet18"])
def test_stages_on_the_gpu_and_on_the_processor_chained_answer_as_the_whole_does(
    name: str, library: Library, imported: Callable[[str], ModelCard], example_inputs: Inputs
) -> None:
    card = imported(name)
    blocks = len(card.blocks)
    inputs = example_inputs(card)
    whole = load_stage(card, library.blobs, 0, blocks, accelerator="cpu").run(inputs)
    borders = (0, blocks // 3, 2 * blocks // 3, blocks)
    for on_gpu in ((True, False, True), (False, True, False), (True, True, True)):
        tensors = inputs
        for first, last, gpu in zip(borders, borders[1:], on_gpu, strict=True):
            stage = load_stage(
                card,
                library.blobs,
                first,
                last,
                backend="torch" if gpu else "onnxruntime",
                accelerator="cuda" if gpu else "cpu",
            )
            assert not gpu or (isinstance(stage, TorchRunner) and stage.device == "cuda")
            tensors = stage.run(tensors)
        for output, array in whole.items():
            np.testing.assert_allclose(tensors[output], array, rtol=1e-3, atol=1e-4)


def test_the_processor_is_used_when_it_is_asked_for(tiny_library: tuple[Library, ModelCard]) -> None:
    library, card = tiny_library
    stage = load_stage(card, library.blobs, 0, len(card.blocks), backend="torch", accelerator="cpu")
    assert isinstance(stage, TorchRunner)
    assert stage.device == "cpu"
