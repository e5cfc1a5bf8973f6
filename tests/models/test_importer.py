"""Importing from PyTorch: what lands on the card, and every way it can fail."""

from __future__ import annotations

import sys
import textwrap
import urllib.error
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from models.catalog import LITE, SourceError, UnknownModelError
from models.importer import import_model
from models.library import Library, StoreFullError
from models.runtime import load_stage
from schemas.base import InvalidNameError
from schemas.codec import Array
from schemas.model import ModelCard

FACTORIES = """
    import torch
    from torch import nn
    from models.normalise import PictureInput

    class Pair(nn.Module):
        def forward(self, image, tokens):
            return image.mean(dim=(2, 3)), nn.functional.one_hot(tokens, 10).float()

    def small():
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))

    def pictured():
        net = small()
        net.input_shape = (1, 3, 8, 8)
        net.picture = PictureInput(resize=10, crop=8, mean=(0.0,) * 3, std=(1.0,) * 3)
        net.labels = ("a", "b", "c", "d", "e")
        return net

    def pair():
        net = Pair()
        net.example_inputs = (torch.zeros(1, 3, 4, 4), torch.zeros(1, 6, dtype=torch.int64))
        return net

    class Named(nn.Module):
        input_shape = (1, 3, 4, 4)
        picture = PictureInput(resize=4, crop=4, mean=(0.0,) * 3, std=(1.0,) * 3)
        def forward(self, picture):
            return picture * 2

    def broken():
        raise KeyError("my own mistake")

    def nothing():
        return 42

    class Unexportable(nn.Module):
        input_shape = (1, 4)
        def forward(self, x):
            return x if bool(x.sum() > 0) else -x
"""


@pytest.fixture(scope="module")
def factories(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("factories")
    (folder / "test_own_nets.py").write_text(textwrap.dedent(FACTORIES))
    sys.path.insert(0, str(folder))
    return "test_own_nets"


@pytest.fixture
def own(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


def test_a_picture_model_takes_u8_pictures_and_normalises_in_its_first_block(
    imported: Callable[[str], ModelCard],
) -> None:
    card = imported("mobilenet_v2")
    assert [str(spec) for spec in card.inputs] == ["picture uint8[1x224x224x3]"]
    assert card.blocks[0].label == "normalise"
    assert card.blocks[0].macs == 0
    assert card.cuts[1].tensors[0].shape == (1, 3, 224, 224)
    assert card.preprocess is not None
    assert (card.preprocess.resize, card.preprocess.crop) == (232, 224)
    assert card.labels[285] == "Egyptian cat"
    assert imported("inception_v3").inputs[0].shape == (1, 299, 299, 3)


def test_the_normalised_picture_is_what_torchvision_would_make(
    library: Library, imported: Callable[[str], ModelCard], example_inputs: Callable[[ModelCard], dict[str, Array]]
) -> None:
    card = imported("mobilenet_v2")
    picture = example_inputs(card)["picture"]
    (normalised,) = load_stage(card, library.blobs, 0, 1).run({"picture": picture}).values()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = ((picture.astype(np.float64) / 255 - mean) / std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(normalised.astype(np.float64), expected, atol=1e-5)


def test_a_card_names_blobs_for_its_blocks_and_the_library_holds_them(
    library: Library, imported: Callable[[str], ModelCard]
) -> None:
    card = imported("mobilenet_v2")
    assert {i for block in card.blocks for i in block.blobs} == set(range(len(card.blobs)))
    assert all(library.blobs.has(blob.sha256) for blob in (card.graph, *card.blobs))
    assert card.graph.nbytes < 500_000
    assert library.card("mobilenet_v2") == card


def test_random_weights_answer_differently_to_different_pictures(
    library: Library, imported: Callable[[str], ModelCard]
) -> None:
    card = imported("mobilenet_v2")
    stage = load_stage(card, library.blobs, 0, len(card.blocks))
    black, white = (np.full((1, 224, 224, 3), shade, np.uint8) for shade in (0, 255))
    noise = np.random.default_rng(0).integers(0, 256, black.shape).astype(np.uint8)
    answers = [next(iter(stage.run({"picture": picture}).values())) for picture in (black, white, noise)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(answers[one] - answers[other]).max() > 0.01


def test_a_module_of_ones_own_works_without_partitioning_code(factories: str, own: Library) -> None:
    said: list[tuple[str, float]] = []
    card = import_model(
        f"{factories}:small", own, input_shape=(1, 3, 8, 8), progress=lambda what, share: said.append((what, share))
    )
    assert card.name == "small"
    assert [str(spec) for spec in card.inputs] == ["input float32[1x3x8x8]"]
    assert len(card.blocks) == 2
    assert card.labels == ()
    assert [share for _, share in said] == sorted(share for _, share in said)
    assert said[-1] == ("done", 1.0)


def test_a_module_may_say_how_pictures_become_its_input(factories: str, own: Library) -> None:
    card = import_model(f"{factories}:pictured", own, name="mine")
    assert card.name == "mine"
    assert [str(spec) for spec in card.inputs] == ["picture uint8[1x8x8x3]"]
    assert card.labels == ("a", "b", "c", "d", "e")
    assert card.preprocess is not None
    assert card.preprocess.resize == 10


def test_a_module_whose_own_input_is_called_picture_is_no_trouble(factories: str, own: Library) -> None:
    card = import_model(f"{factories}:Named", own)
    white: dict[str, Array] = {card.inputs[0].name: np.full((1, 4, 4, 3), 255, np.uint8)}
    (answer,) = load_stage(card, own.blobs, 0, len(card.blocks)).run(white).values()
    np.testing.assert_allclose(answer.astype(np.float64), np.full((1, 3, 4, 4), 2), rtol=1e-6)


def test_a_module_with_several_inputs_of_several_types_works(factories: str, own: Library) -> None:
    card = import_model(f"{factories}:pair", own)
    assert [spec.dtype for spec in card.inputs] == ["float32", "int64"]
    tokens = np.arange(6).reshape(1, 6)
    inputs: dict[str, Array] = {card.inputs[0].name: np.ones((1, 3, 4, 4), np.float32), card.inputs[1].name: tokens}
    answers = list(load_stage(card, own.blobs, 0, len(card.blocks)).run(inputs).values())
    np.testing.assert_array_equal(answers[0], np.ones((1, 3)))
    np.testing.assert_array_equal(answers[1][0], np.eye(10)[:6])


def test_the_same_seed_gives_the_same_factory_weights(factories: str, own: Library) -> None:
    def imported_with(seed: int) -> str:
        return import_model(f"{factories}:pictured", own, seed=seed).graph.sha256

    before = torch.get_rng_state()
    assert imported_with(1) == imported_with(1) != imported_with(2)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("small", r"give --input-shape"),
        ("broken", r"failed: KeyError: 'my own mistake'"),
        ("nothing", r"returned int; it must return a torch.nn.Module"),
        ("missing", r"cannot import .*:missing"),
        ("Unexportable", r"could not export this model to ONNX .*give the \.onnx"),
    ],
)
def test_a_factory_that_does_not_work_is_told_why(factory: str, message: str, factories: str, own: Library) -> None:
    with pytest.raises(SourceError, match=message):
        import_model(f"{factories}:{factory}", own)
    assert own.cards() == {}


def test_a_package_that_is_not_there_is_named(own: Library) -> None:
    with pytest.raises(SourceError, match=r"cannot import no_such_package:net"):
        import_model("no_such_package:net", own)


def test_weights_that_cannot_be_fetched_say_what_to_do_instead(own: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_args: object, **_options: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    with pytest.raises(SourceError, match=r"could not be fetched from https://.*--weights random.*\.onnx"):
        import_model("squeezenet1_1", own)


def test_a_shape_that_a_named_model_does_not_take_is_refused(own: Library) -> None:
    with pytest.raises(SourceError, match=r"takes \[1, 3, 224, 224\], not \[1, 3, 64, 64\]"):
        import_model(LITE, own, weights="random", input_shape=(1, 3, 64, 64))


def test_an_unknown_model_and_an_illegal_name_are_refused_before_any_work(own: Library) -> None:
    with pytest.raises(UnknownModelError):
        import_model("resnet19", own)
    with pytest.raises(InvalidNameError, match="letters, digits"):
        import_model("resnet18", own, name="my net/2")


def test_a_library_without_room_says_so_and_keeps_no_card(
    skipping_path: Path, own: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.blobs.max_bytes = 1000
    with pytest.raises(StoreFullError):
        import_model(str(skipping_path), own)
    assert own.cards() == {}
