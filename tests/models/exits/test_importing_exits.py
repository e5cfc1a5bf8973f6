"""Importing models with exits: from a file that declares them, from a module that does, and what is refused."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from multi_exit_graphs import multi_exit_model

from models.catalog import SourceError
from models.exits.declared import EXITS_KEY, UNCALIBRATED, ExitError
from models.importer import import_model
from models.library import Library
from models.runtime import load_stage
from schemas.codec import Array
from schemas.model import OperatingPoint

FACTORIES = """
    import torch
    from torch import nn
    from models.normalise import PictureInput

    class Net(nn.Module):
        input_shape = (1, 3, 8, 8)
        stageline_exits = ("early", "late")

        def __init__(self):
            super().__init__()
            self.one = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
            self.two = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
            self.three = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
            self.heads = nn.ModuleList(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
                                       for _ in range(3))

        def forward(self, x):
            a = self.one(x)
            b = self.two(a)
            return self.heads[2](self.three(b)), self.heads[0](a), self.heads[1](b)

    def calibrated():
        net = Net()
        net.stageline_exits = {"early": 0.8, "late": 0.6}
        net.picture = PictureInput(resize=10, crop=8, mean=(0.5,) * 3, std=(0.5,) * 3)
        net.labels = tuple("abcde")
        return net

    def a_word():
        net = Net()
        net.stageline_exits = "early"
        return net
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "nets_with_exits.py").write_text(textwrap.dedent(FACTORIES))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nets_with_exits", raising=False)
    return "nets_with_exits"


@pytest.fixture
def own(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


def save(model: onnx.ModelProto, folder: Path) -> str:
    path = folder / "exits.onnx"
    onnx.save(model, path)
    return str(path)


def test_a_file_that_declares_exits_gives_a_card_with_them(own: Library, tmp_path: Path) -> None:
    points = (
        OperatingPoint(thresholds=(0.2, 0.2), shares=(0.9, 0.1), accuracy=0.6),
        OperatingPoint(thresholds=(0.9, 0.8), shares=(0.3, 0.2), accuracy=0.9),
    )
    model = multi_exit_model(thresholds={"early": 0.7, "late": 0.4}, points=points)
    card = import_model(save(model, tmp_path), own)
    assert [(one.name, one.threshold) for one in card.exits] == [("early", 0.7), ("late", 0.4)]
    assert card.operating_points == points
    assert card.notes == ()
    assert own.card(card.name) == card
    assert [spec.name for spec in card.outputs] == ["logits"]
    assert all(spec.shape == card.outputs[0].shape for spec in (one.output for one in card.exits))


def test_a_module_that_names_its_exits_gives_a_card_with_them(factories: str, own: Library) -> None:
    card = import_model(f"{factories}:Net", own)
    assert [(one.name, one.threshold) for one in card.exits] == [("early", UNCALIBRATED), ("late", UNCALIBRATED)]
    assert "not calibrated" in card.notes[0]
    assert len(card.outputs) == 1


def test_a_module_answers_at_its_exits_as_it_did_in_pytorch(factories: str, own: Library) -> None:
    card = import_model(f"{factories}:calibrated", own, seed=4)
    assert [one.threshold for one in card.exits] == [0.8, 0.6]
    assert card.labels == tuple("abcde")
    assert [spec.name for spec in card.inputs] == ["picture"]
    with torch.random.fork_rng():
        torch.manual_seed(4)
        net = sys.modules[factories].calibrated().eval()
    picture = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)
    with torch.inference_mode():
        final, *heads = (row.numpy() for row in net((torch.from_numpy(picture).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5))
    stage = load_stage(card, own.blobs, 0, len(card.blocks), exits=["early", "late"])
    inputs: dict[str, Array] = {"picture": picture}
    name = card.outputs[0].name
    for one, expected in zip(card.exits, heads, strict=True):
        passed = stage.run_until(inputs, {one.name: 0.0})
        assert passed.exit == one.name
        np.testing.assert_allclose(passed.outputs[name], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(stage.run(inputs)[name], final, rtol=1e-4, atol=1e-5)


def test_a_module_that_does_not_name_its_exits_in_a_tuple_is_told_how(factories: str, own: Library) -> None:
    with pytest.raises(SourceError, match=r"`stageline_exits` is str; it must be the exits' names in a tuple"):
        import_model(f"{factories}:a_word", own)
    assert own.cards() == {}


def test_a_file_whose_exits_cannot_be_read_is_refused_before_any_work(own: Library, tmp_path: Path) -> None:
    model = multi_exit_model()
    next(entry for entry in model.metadata_props if entry.key == EXITS_KEY).value = '[{"name": "early"}]'
    with pytest.raises(ExitError, match="metadata declares cannot be read"):
        import_model(save(model, tmp_path), own)
    assert own.cards() == {}


def test_an_exit_at_no_legal_cut_is_refused_and_nothing_is_kept(own: Library, tmp_path: Path) -> None:
    model = multi_exit_model({"early": 3, "late": 1})
    with pytest.raises(ExitError, match="exit late is at no legal cut behind exit early"):
        import_model(save(model, tmp_path), own)
    assert own.cards() == {}


def test_a_file_without_metadata_keeps_all_its_outputs(own: Library, tmp_path: Path) -> None:
    model = multi_exit_model()
    del model.metadata_props[:]
    card = import_model(save(model, tmp_path), own)
    assert card.exits == ()
    assert [spec.name for spec in card.outputs] == ["logits", "early_logits", "late_logits"]
