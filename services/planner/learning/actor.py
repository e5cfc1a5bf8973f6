"""A trained policy at work: a small network in numpy that scores plans, and proposes those that it prefers.

The network is the actor of stable-baselines3's `MlpPolicy`: fully connected layers with tanh between them, one output
per plan. Proximal policy optimisation trained it (Schulman et al. 2017, `services.planner.learning.training`); using it
needs numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.planner.learning.arms import ARMS_MOST, Arm
from services.planner.learning.learner import Learner
from services.planner.learning.observation import OBSERVED, observation

Weights = NDArray[np.float32]


class ActorShapeError(ValueError):
    """Layers that do not fit together, or not what plans are described by; says which."""


@dataclass(frozen=True, slots=True, eq=False)
class Actor:
    """Layers, first to last: weights (out, in) and biases (out,), float32."""

    layers: tuple[tuple[Weights, Weights], ...]

    def __post_init__(self) -> None:
        inputs = OBSERVED
        for number, (weights, biases) in enumerate(self.layers):
            if weights.ndim != 2 or weights.shape[1] != inputs or biases.shape != weights.shape[:1]:
                raise ActorShapeError(
                    f"layer {number} has weights {weights.shape} and biases {biases.shape}, for {inputs} inputs"
                )
            if not (np.isfinite(weights).all() and np.isfinite(biases).all()):
                raise ActorShapeError(f"layer {number} has weights that are no numbers")
            inputs = weights.shape[0]
        if inputs != ARMS_MOST:
            raise ActorShapeError(f"the last layer scores {inputs} plans, not {ARMS_MOST}")

    def scores(self, seen: NDArray[np.float64]) -> NDArray[np.float32]:
        """One score per plan, (ARMS_MOST,), of an observation (OBSERVED,)."""
        values: NDArray[np.float32] = seen.astype(np.float32)
        for number, (weights, biases) in enumerate(self.layers):
            values = weights @ values + biases
            if number < len(self.layers) - 1:
                values = np.tanh(values)
        return values

    def propose(self, learner: Learner, arms: Sequence[Arm], incumbent: Arm) -> Sequence[Arm]:
        """Plans that it prefers to the incumbent, the most preferred first."""
        scores = self.scores(observation(learner, arms, incumbent))
        scored = {arm.name: float(score) for arm, score in zip(arms, scores, strict=False)}
        least = scored.get(incumbent.name, -np.inf)
        better = [arm for arm in arms if arm is not incumbent and scored.get(arm.name, -np.inf) > least]
        return sorted(better, key=lambda arm: (-scored[arm.name], arm.name))
