"""VGG16's convolutions as the paper's 13 layers: FLOPs, bytes at every split and heads, computed from its shapes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from bench.study.assumptions import Assumptions
from models.exits.setting.layers import Layers

CHANNELS: Final = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
POOLED_BEHIND: Final = frozenset({1, 3, 6, 9, 12})
"""Layers (from 0) with a 2x2 pooling behind, which belongs to them: what they send is what it leaves."""
_KERNEL: Final = 3
_INPUT_CHANNELS: Final = 3
_HIDDEN: Final = (4096, 4096)


@dataclass(frozen=True, slots=True)
class Network:
    """A chain of layers with an exit behind each."""

    layers: Layers
    """GFLOPs; a multiply-accumulate counts as two. Activation functions and pooling are not counted."""
    split_bytes: tuple[float, ...]
    """Bytes to send at split s: of the input for 0, of what layer s-1 leaves otherwise. One more than layers."""


def vgg16(assumed: Assumptions) -> Network:
    """VGG16 (Simonyan and Zisserman, 2015) with an early exit behind each convolution and its own head at the end."""
    side, channels = assumed.input_px, _INPUT_CHANNELS
    flops, heads = [], []
    split_bytes = [float(side * side * channels * assumed.pixel_bytes)]
    for place, filters in enumerate(CHANNELS):
        flops.append(_gflops(_convolution(side, channels, filters)))
        channels = filters
        if place in POOLED_BEHIND:
            side //= 2
        split_bytes.append(float(side * side * channels * assumed.feature_bytes))
        heads.append(_gflops(_early_head(side, channels, assumed)))
    heads[-1] = _gflops(_last_head(side * side * channels, assumed.classes))
    return Network(Layers(tuple(flops), tuple(heads)), tuple(split_bytes))


def _convolution(side: int, channels: int, filters: int) -> int:
    return side * side * _KERNEL * _KERNEL * channels * filters


def _early_head(side: int, channels: int, assumed: Assumptions) -> int:
    if not assumed.head_channels:
        return channels * assumed.classes
    convolved = _convolution(min(side, assumed.head_side), channels, assumed.head_channels)
    return convolved + assumed.head_channels * assumed.classes


def _last_head(values: int, classes: int) -> int:
    widths = (values, *_HIDDEN, classes)
    return sum(before * after for before, after in pairwise(widths))


def _gflops(macs: int) -> float:
    return 2 * macs / 1e9
