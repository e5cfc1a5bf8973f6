"""Trains one policy for a whole table: all bandwidths and weights, not one for each point."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from bench.study.learning.environment import ManySharedEdges
from bench.study.learning.ways import Way, at_first
from bench.study.learning.world import Instances
from bench.study.problem import Decision, Point, Problem, decide


@dataclass(frozen=True, slots=True)
class Lessons:
    """How long and how PPO is trained (Schulman et al., 2017). Reconstructed: the paper's settings are not public."""

    decisions: int = 400_000
    together: int = 512
    steps: int = 8
    """Of all instances between two updates."""
    batch: int = 1024
    epochs: int = 6
    rate: float = 2e-3
    """Of learning; falls to 0."""
    entropy: float = 0.01
    """What acting at random is worth in the beginning; falls to 0."""
    width: int = 64
    spread: float = 0.0
    """Where actions are numbers: the logarithm of their first deviation. Good splits are few, and lie far apart."""


FULL: Final = {"ppo-paper": Lessons(decisions=2_000_000, entropy=0.05, spread=1.2), "ppo": Lessons()}
QUICK: Final = {name: replace(lessons, decisions=100_000, together=256) for name, lessons in FULL.items()}
"""By method: the paper's way needs several times as much."""


class Policy:
    """A trained learner."""

    def __init__(self, model: Any, problem: Problem, way: Way, trained_s: float, trained_cpu_s: float) -> None:
        self._model, self._problem, self._way = model, problem, way
        self.trained_s = trained_s
        """Seconds that its training took."""
        self.trained_cpu_s = trained_cpu_s
        """Of one core: the same where nothing else runs."""

    def decide(self, points: Sequence[Point]) -> list[Decision]:
        """What it does at each point, without chance: the last decision of an episode."""
        asked = Instances(np.array([one.bandwidth_mbps for one in points]), np.array([one.w for one in points]))
        splits, shares = at_first(self._problem, len(points))
        for _ in range(self._way.decisions):
            seen = self._way.observe(self._problem, asked, splits, shares)
            actions, _ = self._model.predict(seen, deterministic=True)
            splits, shares = self._way.decode(self._problem, actions)
        every = zip(points, splits, shares, strict=True)
        return [decide(self._problem, point, mine.tolist(), share.tolist()) for point, mine, share in every]

    def save(self, file: Path) -> None:
        """Keep it as stable-baselines3 does."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self._model.save(file)


def train(problem: Problem, way: Way, lessons: Lessons, seed: int, tell: Callable[[int], None]) -> Policy:
    """A policy for this problem.

    Args:
        problem: whose devices.
        way: how it sees and acts.
        lessons: how it is trained.
        seed: of its first weights, its chances and its questions.
        tell: is told the decisions made so far, now and then.
    """
    began, began_cpu = time.monotonic(), time.process_time()
    model = PPO(
        "MlpPolicy", ManySharedEdges(problem, way, lessons.together, seed),
        learning_rate=lambda left: lessons.rate * left, n_steps=lessons.steps, batch_size=lessons.batch,
        n_epochs=lessons.epochs, gamma=0.0, gae_lambda=1.0, ent_coef=lessons.entropy,
        policy_kwargs={"net_arch": [lessons.width, lessons.width], "log_std_init": lessons.spread},
        device="cpu", seed=seed,
    )  # fmt: skip
    # Its usual logger leaves a folder in the temporary directory.
    model.set_logger(Logger(folder=None, output_formats=[]))
    model.learn(lessons.decisions, callback=_Course(lessons, tell))
    return Policy(model, problem, way, time.monotonic() - began, time.process_time() - began_cpu)


class _Course(BaseCallback):  # type: ignore[misc]  # stable-baselines3 is optional, and its types with it
    """Tells how far it is, and lets chance fade out."""

    def __init__(self, lessons: Lessons, tell: Callable[[int], None]) -> None:
        super().__init__()
        self._lessons, self._tell = lessons, tell

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        done = min(1.0, self.num_timesteps / self._lessons.decisions)
        self.model.ent_coef = self._lessons.entropy * (1 - done)
        self._tell(self.num_timesteps)
