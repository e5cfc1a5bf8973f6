"""Heads, and networks that they are attached to."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.exits.heads import ExitHead, HeadShapeError
from models.exits.multi_exit import MultiExit, Tap, TapError


@pytest.mark.parametrize(
    "shape",
    [
        (1, 16, 112, 112),
        (1, 24, 32, 32),
        (1, 512, 14, 14),
        (1, 64, 8, 8),
        (1, 5, 4, 4),
        (1, 9, 1, 1),
        (1, 197, 32),
        (1, 40),
    ],
)
def test_a_head_gives_logits_of_any_features_and_a_gradient_to_all_its_weights(shape: tuple[int, ...]) -> None:
    head = ExitHead(shape, 7, width=16)
    logits = head(torch.randn(2, *shape[1:]))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize("shape", [(1, 3, 4, 5, 6), (4,), (1, 0, 8, 8)])
def test_features_that_no_head_reads_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(HeadShapeError, match="an exit reads"):
        ExitHead(shape, 7)


def make_backbone() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU()), nn.Flatten(),
        nn.Linear(128, 5),
    )  # fmt: skip


def test_exits_come_first_and_the_final_logits_are_the_backbone_s_own() -> None:
    backbone = make_backbone()
    model = MultiExit(backbone, [Tap("a", "0"), Tap("b", "1")], torch.zeros(1, 3, 8, 8))
    pictures = torch.randn(4, 3, 8, 8)
    first, second, final = model.eval()(pictures)
    assert torch.equal(final, backbone(pictures))
    assert torch.equal(first, model.heads[0](backbone[0](pictures)))
    assert torch.equal(second, model.heads[1](backbone[1](backbone[0](pictures))))
    # Nothing is left behind on the backbone.
    assert not any(module._forward_hooks for module in backbone.modules())


@pytest.mark.parametrize("path", ["9", "0.5", ""])
def test_a_submodule_that_there_is_not_is_told(path: str) -> None:
    with pytest.raises(TapError, match="does not have"):
        MultiExit(make_backbone(), [Tap("a", path)], torch.zeros(1, 3, 8, 8))


def test_a_network_that_gives_no_logits_is_refused() -> None:
    with pytest.raises(TapError, match="classifiers"):
        MultiExit(nn.Sequential(nn.Conv2d(3, 8, 3)), [Tap("a", "0")], torch.zeros(1, 3, 8, 8))


def test_a_submodule_that_gives_no_one_tensor_is_refused() -> None:
    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair, self.end = Pair(), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.end(self.pair(x)[0])
            return logits

    with pytest.raises(TapError, match="one tensor"):
        MultiExit(Net(), [Tap("a", "pair")], torch.zeros(1, 4))
