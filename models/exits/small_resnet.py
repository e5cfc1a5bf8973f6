"""A small residual network for pictures of 32 x 32: 0.26 million parameters, made to be given exits.

As He et al. ("Deep residual learning for image recognition", CVPR 2016) built theirs for CIFAR-10, with 16, 32 and 64
channels; but with one block only at full resolution, where cuts are large, and three at each of the lower ones.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from models.normalise import PictureInput

CIFAR10_CLASSES: Final = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR10_PICTURE: Final = PictureInput(resize=32, crop=32, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
_WIDTHS: Final = (16, 32, 64)
_DEPTHS: Final = (1, 3, 3)


class Residual(nn.Module):
    """Two 3x3 convolutions and a way around them; where the shape changes, a 1x1 convolution is that way."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.around = (
            nn.Sequential()
            if stride == 1 and channels == out
            else nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))
        )
        self.activate = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features [batch, out, height / stride, width / stride]."""
        result: torch.Tensor = self.activate(self.body(x) + self.around(x))
        return result


class SmallResNet(nn.Module):
    """Logits [batch, classes] of normalised pictures [batch, 3, 32, 32]."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, _WIDTHS[0], 3, padding=1, bias=False), nn.BatchNorm2d(_WIDTHS[0]), nn.ReLU()
        )
        channels = _WIDTHS[0]
        stages = []
        for number, (width, depth) in enumerate(zip(_WIDTHS, _DEPTHS, strict=True)):
            blocks = []
            for place in range(depth):
                blocks.append(Residual(channels, width, 2 if number and not place else 1))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.classify = nn.Linear(channels, classes)
        # What `stageline import` and `stageline exits` ask of a factory's module.
        self.input_shape = (1, 3, 32, 32)
        self.picture = CIFAR10_PICTURE
        self.labels = CIFAR10_CLASSES if classes == len(CIFAR10_CLASSES) else ()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits [batch, classes], float32."""
        features = self.stages(self.stem(pictures)).mean(dim=(2, 3))
        logits: torch.Tensor = self.classify(features)
        return logits


def small_resnet() -> SmallResNet:
    """Untrained, for ten classes: `stageline exits train models.exits.small_resnet:small_resnet`."""
    return SmallResNet()
