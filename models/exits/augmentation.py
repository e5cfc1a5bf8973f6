"""Pictures as the network wants them, and the same pictures slightly different in every epoch."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from models.exits.examples import Examples
from models.normalise import PictureInput


def to_input(examples: Examples, picture: PictureInput | None, device: torch.device) -> torch.Tensor:
    """What the network takes: pictures as normalised float32 [n, 3, height, width]; other inputs as they are."""
    inputs = torch.from_numpy(np.ascontiguousarray(examples)).to(device)
    if picture is None:
        return inputs
    planes = inputs.permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor(picture.mean, device=device).view(1, -1, 1, 1)
    std = torch.tensor(picture.std, device=device).view(1, -1, 1, 1)
    return (planes - mean) / std


def varied(inputs: torch.Tensor, generator: torch.Generator, *, mirror: bool, shift: int) -> torch.Tensor:
    """Half of the pictures mirrored, each moved by up to `shift` pixels either way; what comes in at the edge is 0.

    Args:
        inputs: normalised pictures [n, channels, height, width].
        generator: on the CPU, so that the same pictures come about on every kind of device.
        mirror: whether left and right may change places.
        shift: pixels; 0: none.
    """
    count, channels, height, width = inputs.shape
    if mirror:
        turned = (torch.rand(count, generator=generator) < 0.5).to(inputs.device)
        inputs = torch.where(turned.view(-1, 1, 1, 1), inputs.flip(3), inputs)
    if not shift:
        return inputs
    padded = functional.pad(inputs, (shift, shift, shift, shift))
    tops, lefts = torch.randint(0, 2 * shift + 1, (2, count), generator=generator).to(inputs.device)
    ys = (tops.view(-1, 1) + torch.arange(height, device=inputs.device)).view(count, 1, height, 1)
    xs = (lefts.view(-1, 1) + torch.arange(width, device=inputs.device)).view(count, 1, 1, width)
    picture = torch.arange(count, device=inputs.device).view(count, 1, 1, 1)
    plane = torch.arange(channels, device=inputs.device).view(1, channels, 1, 1)
    moved: torch.Tensor = padded[picture, plane, ys, xs]
    return moved
