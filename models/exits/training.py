"""Trains a multi-exit network, jointly or its heads alone; the same seed gives the same weights on the same machine."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import torch
from torch import nn

from models.exits.augmentation import to_input, varied
from models.exits.course import Epoch
from models.exits.examples import Dataset, Rows
from models.exits.losses import weighted_loss
from models.exits.measured import Measured
from models.exits.multi_exit import MultiExit
from models.exits.recipe import Recipe, rate_at
from models.normalise import PictureInput

Progress = Callable[[str, float], None]

_MOMENTUM: Final = 0.9
_LONGEST_GRADIENT: Final = 5.0
"""Backbones without batch norms would otherwise not survive the first steps of a large rate."""
_SUREST: Final = np.nextafter(np.float32(1), np.float32(0))


class DivergedError(ValueError):
    """The loss became infinite or no number."""

    def __init__(self, epoch: int, rate: float) -> None:
        super().__init__(f"the loss is no number any more in epoch {epoch + 1}; use a learning rate below {rate:g}")


def train(
    model: MultiExit,
    data: Dataset,
    rows: Rows,
    recipe: Recipe,
    *,
    picture: PictureInput | None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[Epoch]:
    """Train in place by gradient descent with momentum; the model is left in evaluation mode on the CPU.

    Args:
        model: with freshly made heads.
        data: all examples.
        rows: those to learn from.
        recipe: how.
        picture: how pictures become inputs; None for inputs that are used as they are.
        device: `cpu` or `cuda`.
        progress: called with a line of text and the share done so far, 0 to 1.

    Raises:
        DivergedError: see there.
        models.exits.recipe.BadRecipeError: loss weights that do not fit the exits.
    """
    say = progress or (lambda _what, _share: None)
    weights = recipe.weights_for(len(model.taps) + 1)
    place = torch.device(device)
    model.to(place)
    optimizer = torch.optim.SGD(_groups(model, recipe), lr=recipe.learning_rate, momentum=_MOMENTUM, nesterov=True)
    generator = torch.Generator().manual_seed(recipe.seed)
    batch = min(recipe.batch, len(rows))
    each = len(rows) // batch
    epochs: list[Epoch] = []
    with _repeatable(recipe.seed, place):
        for epoch in range(recipe.epochs):
            _set_mode(model, frozen=recipe.frozen)
            order = rows[torch.randperm(len(rows), generator=generator).numpy()]
            losses, hits = torch.zeros((), device=place), torch.zeros(len(weights), device=place)
            for step in range(each):
                for group in optimizer.param_groups:
                    group["lr"] = rate_at(epoch * each + step, recipe.epochs * each, recipe.learning_rate)
                # The few that are left over at the end come in another epoch: every batch norm sees a full batch.
                chosen = order[step * batch : (step + 1) * batch]
                inputs = to_input(data.batch(chosen), picture, place)
                if picture is not None:
                    inputs = varied(inputs, generator, mirror=recipe.mirror, shift=recipe.shift)
                labels = torch.from_numpy(data.labels[chosen]).to(place)
                logits = model(inputs)
                loss = weighted_loss(logits, labels, weights, distil=recipe.distil, temperature=recipe.temperature)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], _LONGEST_GRADIENT)
                optimizer.step()
                losses += loss.detach()
                hits += torch.stack([(one.detach().argmax(1) == labels).sum() for one in logits])
                if not step % 10:
                    say(f"epoch {epoch + 1} of {recipe.epochs}", (epoch + step / each) / recipe.epochs)
            epochs.append(Epoch(float(losses) / each, tuple((hits / (each * batch)).tolist())))
            if not math.isfinite(epochs[-1].loss):
                raise DivergedError(epoch, recipe.learning_rate)
            say(f"epoch {epoch + 1} of {recipe.epochs}: loss {epochs[-1].loss:.3f}", (epoch + 1) / recipe.epochs)
    model.to("cpu")
    model.eval()
    return epochs


def measure(
    model: MultiExit,
    data: Dataset,
    rows: Rows,
    *,
    picture: PictureInput | None,
    device: str = "cpu",
    batch: int = 256,
) -> Measured:
    """How sure every output is of these examples, and whether it is right; the model is left on the CPU."""
    place = torch.device(device)
    model.to(place)
    model.eval()
    sure, right = [], []
    with torch.no_grad(), _repeatable(0, place):
        for first in range(0, len(rows), batch):
            chosen = rows[first : first + batch]
            logits = torch.stack(model(to_input(data.batch(chosen), picture, place)), dim=1).cpu()
            largest, classes = torch.softmax(logits.double(), dim=2).max(dim=2)
            # Below 1 whatever rounding says: a threshold of 1 means that nobody leaves.
            sure.append(np.minimum(largest.numpy().astype(np.float32), _SUREST))
            right.append(classes.numpy() == data.labels[chosen][:, np.newaxis])
    model.to("cpu")
    return Measured(np.concatenate(sure), np.concatenate(right))


def _set_mode(model: MultiExit, *, frozen: bool) -> None:
    model.train()
    if frozen:
        model.backbone.eval()


def _groups(model: MultiExit, recipe: Recipe) -> list[dict[str, object]]:
    """Parameters that learn: with decay those that multiply, without it biases and batch norms."""
    model.backbone.requires_grad_(not recipe.frozen)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [one for one in learning if one.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [one for one in learning if one.ndim <= 1], "weight_decay": 0.0},
    ]


@contextlib.contextmanager
def _repeatable(seed: int, place: torch.device) -> Iterator[None]:
    """Dropout draws from the seed, and CUDA uses no kernel whose result differs from run to run; undone at the end."""
    # cuBLAS wants to be told before it is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    try:
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if place.type == "cuda" else []):
            torch.manual_seed(seed)
            yield
    finally:
        torch.use_deterministic_algorithms(mode=before, warn_only=warn_only)
