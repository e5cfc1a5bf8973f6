"""Made-up weights under which a deep network still says different things of different pictures.

With default initial values a 50-layer network answers (almost) the same to every input, and a test that compares
answers would compare biases. One forward pass rescales every layer to outputs of unit variance, as in layer-sequential
unit-variance initialisation (Mishkin and Matas, "All you need is a good init", ICLR 2016).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def spread_activations(module: nn.Module, example: torch.Tensor) -> None:
    """Rescale convolutions and linear layers, and set batch-norm statistics, in the order they run on `example`.

    Args:
        module: changed in place; left in evaluation mode.
        example: one input batch, float32.
    """
    module.eval()
    hooks = [
        layer.register_forward_hook(_unit_variance if isinstance(layer, nn.Conv2d | nn.Linear) else _unit_statistics)
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d)
    ]
    try:
        with torch.no_grad():
            module(example)
    finally:
        for hook in hooks:
            hook.remove()


def _unit_variance(layer: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
    spread = float(output.std())
    if not spread > 1e-12:
        return output
    layer.weight /= spread
    if layer.bias is not None:
        layer.bias /= spread
    return output / spread


def _unit_statistics(layer: Any, inputs: tuple[torch.Tensor], _output: torch.Tensor) -> torch.Tensor:
    layer.running_mean.copy_(inputs[0].mean(dim=(0, 2, 3)))
    layer.running_var.copy_(inputs[0].var(dim=(0, 2, 3), unbiased=False) + 1e-3)
    normalised: torch.Tensor = nn.functional.batch_norm(
        inputs[0], layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=layer.eps
    )
    return normalised
