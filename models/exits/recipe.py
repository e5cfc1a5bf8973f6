"""How a multi-exit network is trained: every choice in one place, so that a training card can repeat it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

SEED_MOST: Final = 2**31 - 1
"""Every generator that draws takes such a seed."""


class BadRecipeError(ValueError):
    """A choice that cannot be trained with; the message says which and what may be chosen."""


@dataclass(frozen=True)
class Recipe:
    """Numbers of a training run.

    Attributes:
        epochs: passes over the training examples.
        batch: examples a step.
        learning_rate: the largest; it rises over the first twentieth and falls to nothing (half a cosine).
        weight_decay: of convolutions and linear layers.
        seed: of initial values, order, mirroring and shifts; 0 to SEED_MOST.
        frozen: train the heads only; the backbone stays as it is, its batch norms too.
        loss_weights: of every exit and of the final output; empty: rising evenly, the final one's is 1.
        distil: share of the loss that compares an exit with the final output instead of the label, 0 to 1.
        temperature: at which it does; above 1 the less likely classes count more (Hinton et al., 2015).
        mirror: show half of the pictures left to right.
        shift: move pictures by up to so many pixels.
    """

    epochs: int = 10
    batch: int = 128
    learning_rate: float = 0.05
    weight_decay: float = 5e-4
    seed: int = 0
    frozen: bool = False
    loss_weights: tuple[float, ...] = ()
    distil: float = 0.0
    temperature: float = 3.0
    mirror: bool = True
    shift: int = 0

    def __post_init__(self) -> None:
        """Raises BadRecipeError."""
        for name, low in (("epochs", 1), ("batch", 2), ("shift", 0)):
            if getattr(self, name) < low:
                raise BadRecipeError(f"{name} {getattr(self, name)}: at least {low}")
        if not 0 <= self.seed <= SEED_MOST:
            raise BadRecipeError(f"seed {self.seed}: from 0 to {SEED_MOST}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise BadRecipeError(f"learning rate {self.learning_rate}: above 0, for example 0.05")
        if not 0 <= self.distil <= 1:
            raise BadRecipeError(f"distil {self.distil}: a share, from 0 to 1")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise BadRecipeError(f"temperature {self.temperature}: above 0, for example 3")
        if any(not (math.isfinite(one) and one >= 0) for one in self.loss_weights):
            raise BadRecipeError(f"loss weights {list(self.loss_weights)}: none may be below 0")

    def weights_for(self, outputs: int) -> tuple[float, ...]:
        """One loss weight for each of so many outputs, the final one last.

        Raises:
            BadRecipeError: another number of weights was chosen, or they are all 0.
        """
        weights = self.loss_weights or tuple((place + 1) / outputs for place in range(outputs))
        if len(weights) != outputs or not sum(weights):
            raise BadRecipeError(
                f"{len(weights)} loss weights for {outputs} outputs: give one for each exit and one for the final "
                "output, not all 0"
            )
        return weights

    def check_pictures(self, side: int | None) -> None:
        """Whether pictures of this network can be moved that far.

        Args:
            side: pixels of a picture's shorter side; None: the network takes no pictures.

        Raises:
            BadRecipeError: nothing, or too little, would be left of them.
        """
        if self.shift and side is None:
            raise BadRecipeError(f"shift {self.shift}: it moves pictures, and this network takes none; leave it out")
        if side is not None and self.shift > side // 2:
            raise BadRecipeError(
                f"shift {self.shift}: pictures of {side} pixels may be moved by {side // 2} at most; an eighth "
                f"({side // 8}) is usual"
            )


def rate_at(step: int, steps: int, largest: float) -> float:
    """The learning rate of one step: rising straight over the first twentieth, then half a cosine down to 0."""
    rising = max(1, steps // 20)
    if step < rising:
        return largest * (step + 1) / rising
    return largest * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
