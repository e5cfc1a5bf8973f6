"""Made-up weights under which a deep network still says different things of different pictures.

With default initial values a 50-layer network answers (almost) the same to every input, and a test that compares
answers would compare biases. One forward pass rescales every layer to outputs of unit variance, as in layer-sequential
unit-variance initialisation (Mishkin and Matas, "All you need is a good init", ICLR 2016).
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn

_BLOTCHES: Final = (2, 6, 20, 70, 1 << 20)
"""Cells across a made-up picture, coarse to white noise. Batch norms must see how pictures differ from one another."""

_ANSWER_SPREAD: Final = 0.1
"""Standard deviation of the answers: small beside a trained network's, as an untrained head's are."""


def spread_activations(module: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Rescale convolutions and linear layers, and set batch-norm statistics, in the order they run.

    Args:
        module: changed in place; left in evaluation mode.
        input_shape: of one normalised picture, [1, 3, height, width].
    """
    module.eval()
    ran: list[Any] = []

    def unit_variance(layer: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        ran.append(layer)
        return _unit_variance(layer, inputs, output)

    hooks = [
        layer.register_forward_hook(_unit_statistics if isinstance(layer, nn.BatchNorm2d) else unit_variance)
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d)
    ]
    try:
        with torch.no_grad():
            module(_made_up_pictures(input_shape))
            _rescale(ran[-1], 1 / _ANSWER_SPREAD)
    finally:
        for hook in hooks:
            hook.remove()


def _made_up_pictures(input_shape: tuple[int, ...]) -> torch.Tensor:
    """Blotches, one size of them strongest in each picture, from one blotch to white noise."""
    channels, *size = input_shape[1:]
    total = torch.zeros(len(_BLOTCHES), *input_shape[1:])
    for i, cells in enumerate(_BLOTCHES):
        blotches = torch.randn(len(_BLOTCHES), channels, min(cells, size[0]), min(cells, size[1]))
        strength = 0.3 * torch.rand(len(_BLOTCHES), 1, 1, 1)
        strength[i] = 1
        total += strength * nn.functional.interpolate(blotches, size=size, mode="bilinear")
    return total / total.std(dim=(1, 2, 3), keepdim=True) * torch.linspace(0.6, 1.4, len(_BLOTCHES)).view(-1, 1, 1, 1)


def _unit_variance(layer: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
    if not float(output.std()) > 1e-9:
        # Some heads start at zero, to be trained from there.
        nn.init.kaiming_normal_(layer.weight)
        output = layer.forward(*inputs)
    spread = float(output.std())
    _rescale(layer, spread)
    return output / spread


def _rescale(layer: Any, divisor: float) -> None:
    layer.weight /= divisor
    if layer.bias is not None:
        layer.bias /= divisor


def _unit_statistics(layer: Any, inputs: tuple[torch.Tensor], _output: torch.Tensor) -> torch.Tensor:
    x = inputs[0]
    # Scaled but not centred: centring would amplify rounding along with the differences between pictures.
    layer.running_mean.zero_()
    # A channel that hardly varies here may vary elsewhere; it must not be blown up.
    layer.running_var.copy_(x.square().mean(dim=(0, 2, 3)) + 0.05)
    normalised: torch.Tensor = layer.forward(x)
    return normalised
