"""Places for exits: cuts of the exported graph, found again among the submodules of the PyTorch network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_classifier import write_factories

from models.catalog import SourceError, UnknownModelError
from models.exits.backbone import load_backbone
from models.exits.cut_places import find_places
from models.importer import import_model
from models.library import Library


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_factories(tmp_path_factory.mktemp("nets"))


def test_places_are_the_blocks_of_the_imported_model_and_read_what_crosses_there(nets: Path, tmp_path: Path) -> None:
    made = load_backbone(f"{nets}:tiny", weights="random", seed=0)
    before = made.module(torch.ones(1, 3, 8, 8))
    found = find_places(made)
    assert torch.equal(made.module(torch.ones(1, 3, 8, 8)), before)
    assert not any(module._forward_hooks for module in made.module.modules())
    card = import_model("tiny_nets:tiny", Library(tmp_path))
    assert [one.submodule for one in found.places] == ["0.2", "1.2", "4"]
    assert found.macs == card.macs
    for one in found.places:
        [crossing] = card.cuts[one.block + 1].tensors
        assert crossing.shape == one.shape
        assert one.macs == sum(block.macs for block in card.blocks[: one.block + 1])
        assert one.label == card.blocks[one.block].label
    shares = [one.share for one in found.places]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1


def test_a_module_that_runs_twice_and_a_cut_that_two_tensors_cross_are_no_places(nets: Path) -> None:
    found = find_places(load_backbone(f"{nets}:TwoPaths", weights="random", seed=0))
    assert all(one.submodule != "relu" for one in found.places)


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        ("model.onnx", SourceError, "cannot be trained"),
        ("no_such_file.py:make", SourceError, "there is no file"),
        ("resnet1800", UnknownModelError, "no model"),
        ("nosuch", UnknownModelError, "There are small-resnet, mobilenet_v2"),
        ("small-resnt", UnknownModelError, "did you mean small-resnet"),
    ],
)
def test_what_is_no_network_to_train_is_told(source: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        load_backbone(source, weights="random", seed=0)


@pytest.mark.parametrize("shape", [(3, 32), (1, 4, 32, 32), (1, 3, 32)])
def test_a_network_for_pictures_is_refused_the_shape_of_something_else(shape: tuple[int, ...], nets: Path) -> None:
    with pytest.raises(SourceError, match=f"1x3xHEIGHTxWIDTH, like 1x3x32x32, not {'x'.join(map(str, shape))}"):
        load_backbone(f"{nets}:tiny", weights="random", seed=0, input_shape=shape)


def test_a_network_that_cannot_be_run_on_the_shape_it_is_given_is_refused(nets: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot be run on an input of 1x5 \(.*\); give its --input-shape"):
        load_backbone(f"{nets}:plain", weights="random", seed=0, input_shape=(1, 5))
