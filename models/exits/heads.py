"""What is attached to a backbone so that it may answer early: a small classifier per exit, sized by what it reads."""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

_LARGEST_SIDE: Final = 32
"""Larger maps are averaged down to about this first: a head's convolutions must stay cheap beside the backbone's."""

HEAD_WIDTH: Final = 64
HEAD_RANKS: Final = (2, 3, 4)
"""Features, tokens, maps; the batch is the first dimension of each."""


class HeadShapeError(ValueError):
    """Features that no head is made for; the message says what heads read."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(
            f"an exit reads [1,channels,height,width], [1,tokens,features] or [1,features], not {list(shape)}; "
            "choose another place"
        )


class ExitHead(nn.Module):
    """From features to logits.

    Maps go through one or two strided 3x3 convolutions until at most four cells wide (early features say little about
    classes by themselves: BranchyNet, Teerapittayanon et al., ICPR 2016), are averaged, and meet one linear layer.
    Tokens are averaged; plain features meet the linear layer as they are.

    Args:
        shape: of the features, batch first, float32.
        classes: how many logits.
        width: channels of the last convolution.

    Raises:
        HeadShapeError: see there.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, width: int = HEAD_WIDTH) -> None:
        super().__init__()
        if len(shape) not in HEAD_RANKS or min(shape[1:]) < 1:
            raise HeadShapeError(shape)
        self.rank = len(shape)
        if self.rank == 4:
            self.reduce, features = _reducing(shape[1], min(shape[2:]), width)
        else:
            self.reduce, features = nn.Sequential(), shape[-1]
        self.classify = nn.Linear(features, classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits [batch, classes], float32."""
        if self.rank == 4:
            # A mean, not an adaptive pooling: its gradient is the same in every run on CUDA, too.
            features = self.reduce(features).mean(dim=(2, 3))
        elif self.rank == 3:
            features = features.mean(dim=1)
        logits: torch.Tensor = self.classify(features)
        return logits


def _reducing(channels: int, side: int, width: int) -> tuple[nn.Sequential, int]:
    """Layers that bring a map down to a few cells, and how many channels they leave."""
    layers: list[nn.Module] = []
    if side >= 2 * _LARGEST_SIDE:
        layers.append(nn.AvgPool2d(side // _LARGEST_SIDE))
        side //= side // _LARGEST_SIDE
    widths = [max(width // 2, 1), width] if side > 16 else [width] if side > 4 else []
    for wide in widths:
        # Bias and scale are the batch norm's.
        layers += [nn.Conv2d(channels, wide, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
        channels = wide
    return nn.Sequential(*layers), channels
