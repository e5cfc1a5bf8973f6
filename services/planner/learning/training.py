"""Training a policy: proximal policy optimisation in made-up worlds, and the actor out of it as plain numbers.

PPO (Schulman et al., arXiv 1707.06347) as stable-baselines3 has it (Raffin et al. 2021), with a small network, because
a hub with two cores should be able to train it. Needs the extra `learn`; it is imported here only, when it is used.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from services.planner.learning.actor import Actor
from services.planner.learning.world import Off, World

HIDDEN: Final = (64, 64)
STEPS: Final = 30_000
_ROLLOUT: Final = 1_000
_BATCH: Final = 250
_CURVE: Final = 25
"""Episodes that a point of the learning curve is the mean of."""

Progress = Callable[[int, float], None]
"""Told the steps done, and the mean regret of the last episodes."""


class NoTrainingError(RuntimeError):
    """What training needs is not installed."""

    def __init__(self, missing: str) -> None:
        super().__init__(f"training needs {missing}: install it with `pip install 'stageline[learn]'`")


@dataclass(frozen=True)
class Training:
    """A trained actor, and how it came about."""

    actor: Actor
    steps: int
    seconds: float
    cpu_s: float
    """Processor time of it."""
    software: str
    curve: tuple[tuple[int, float], ...] = field(default=())
    """Steps done, and the mean regret per decision of the episodes that ended since the point before."""
    model: Any = None
    """The stable-baselines3 model, for whoever wants to go on with it."""


def train(
    worlds: Sequence[World],
    *,
    steps: int = STEPS,
    seed: int = 0,
    centre: Mapping[str, Off] | None = None,
    start: Actor | None = None,
    progress: Progress | None = None,
) -> Training:
    """Train an actor. Computes for a while (STEPS: a minute or two on one core).

    Args:
        worlds: where episodes begin; at least one.
        steps: decisions, rounded up to whole rollouts.
        seed: of worlds, weights and actions: the same seed gives the same actor.
        centre: what is known of how far off devices are.
        start: an actor to go on from (transfer) instead of random weights.
        progress: told now and then.

    Raises:
        NoTrainingError: the extra `learn` is not installed.
    """
    try:
        import stable_baselines3  # noqa: PLC0415  large, and needed for training only
        import torch  # noqa: PLC0415
        from stable_baselines3.common.logger import Logger  # noqa: PLC0415

        from services.planner.learning.environment import DecidingEnv  # noqa: PLC0415
    except ImportError as error:
        raise NoTrainingError(error.name or "stable-baselines3") from error
    torch.manual_seed(seed)
    rollout = _BATCH * math.ceil(min(_ROLLOUT, steps) / _BATCH)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    model = stable_baselines3.PPO(
        "MlpPolicy", DecidingEnv(worlds, centre, seed=seed), n_steps=rollout, batch_size=_BATCH,
        n_epochs=8, gamma=0.95, gae_lambda=0.9, ent_coef=0.01, learning_rate=1e-3, seed=seed, device="cpu",
        policy_kwargs={"net_arch": {"pi": list(HIDDEN), "vf": list(HIDDEN)}},
    )  # fmt: skip
    # Its usual logger leaves a folder in the temporary directory.
    model.set_logger(Logger(folder=None, output_formats=[]))
    if start is not None:
        _begin_from(model, start)
    watcher = _watcher(progress)
    model.learn(total_timesteps=steps, callback=watcher)
    return Training(
        actor=actor_of(model),
        steps=int(model.num_timesteps),
        seconds=time.perf_counter() - began_s,
        cpu_s=time.process_time() - began_cpu_s,
        software=f"stable-baselines3 {stable_baselines3.__version__}, torch {torch.__version__}",
        curve=tuple(watcher.curve),
        model=model,
    )


def actor_of(model: Any) -> Actor:
    """The actor of a stable-baselines3 model with an `MlpPolicy`."""
    return Actor(
        tuple(
            (layer.weight.detach().numpy().astype(np.float32), layer.bias.detach().numpy().astype(np.float32))
            for layer in _linear_layers(model)
        )
    )


def _begin_from(model: Any, start: Actor) -> None:
    """Weights of another actor; the critic, which knows the other fleet's returns, begins anew."""
    import torch  # noqa: PLC0415  as above

    layers = _linear_layers(model)
    if [tuple(layer.weight.shape) for layer in layers] != [weights.shape for weights, _ in start.layers]:
        raise ValueError(f"the policy to go on from has other layers than {HIDDEN}")
    with torch.no_grad():
        for layer, (weights, biases) in zip(layers, start.layers, strict=True):
            layer.weight.copy_(torch.from_numpy(weights))
            layer.bias.copy_(torch.from_numpy(biases))


def _linear_layers(model: Any) -> list[Any]:
    import torch  # noqa: PLC0415  as above

    policy = model.policy
    hidden = [layer for layer in policy.mlp_extractor.policy_net if isinstance(layer, torch.nn.Linear)]
    return [*hidden, policy.action_net]


def _watcher(progress: Progress | None) -> Any:
    from stable_baselines3.common.callbacks import BaseCallback  # noqa: PLC0415  as above

    class Watcher(BaseCallback):  # type: ignore[misc]  # its types are not followed
        """Collects the learning curve, and tells how far training is."""

        def __init__(self) -> None:
            super().__init__()
            self.curve: list[tuple[int, float]] = []
            self._regrets: list[float] = []
            self._ended = 0

        def _on_step(self) -> bool:
            for info, done in zip(self.locals["infos"], self.locals["dones"], strict=True):
                self._regrets.append(float(info["regret"]))
                self._ended += bool(done)
            if self._ended >= _CURVE:
                self._point()
            return True

        def _on_training_end(self) -> None:
            if self._regrets:
                self._point()

        def _point(self) -> None:
            self.curve.append((int(self.num_timesteps), float(np.mean(self._regrets))))
            self._regrets, self._ended = [], 0
            if progress is not None:
                progress(*self.curve[-1])

    return Watcher()
