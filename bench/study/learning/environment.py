"""The world as gymnasium knows it, for any learner, and as stable-baselines3 does, many instances in one step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from bench.study.learning.ways import Seen, Way, at_first
from bench.study.learning.world import draw, rewards
from bench.study.problem import Problem


def observation_space(problem: Problem, way: Way) -> Any:  # gymnasium is optional, and its types with it
    """What a way sees."""
    return spaces.Box(-1.0, 1.0, (way.sees(problem),), np.float32)


def action_space(problem: Problem, way: Way) -> Any:
    """How a way acts."""
    choices = way.choices(problem)
    return spaces.MultiDiscrete(choices) if choices else spaces.Box(-1.0, 1.0, (way.numbers(problem),), np.float32)


class SharedEdge(gymnasium.Env):  # type: ignore[misc]  # as above
    """One question after another: bandwidth and weight are drawn at each reset."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, problem: Problem, way: Way) -> None:
        self.observation_space = observation_space(problem, way)
        self.action_space = action_space(problem, way)
        self._problem, self._way = problem, way

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Seen, dict[str, Any]]:
        """Another question, and what is seen of it."""
        super().reset(seed=seed, options=options)
        self._asked, self._taken = draw(self.np_random, 1), 0
        return self._way.observe(self._problem, self._asked, *at_first(self._problem, 1))[0], {}

    def step(self, action: NDArray[Any]) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        """A decision, what it is paid with, and whether it was the episode's last."""
        splits, shares = self._way.decode(self._problem, np.asarray(action)[None])
        paid = float(rewards(self._problem, self._asked, splits, shares)[0])
        self._taken += 1
        seen = self._way.observe(self._problem, self._asked, splits, shares)[0]
        return seen, paid, self._taken >= self._way.decisions, False, {}


class ManySharedEdges(VecEnv):  # type: ignore[misc]  # as above
    """So many questions at once; all episodes are of one length, so they begin and end together."""

    def __init__(self, problem: Problem, way: Way, together: int, seed: int) -> None:
        self._problem, self._way = problem, way
        self._rng = np.random.default_rng(seed)
        super().__init__(together, observation_space(problem, way), action_space(problem, way))

    def reset(self) -> Seen:
        """Other questions, and what is seen of them."""
        self._asked, self._taken = draw(self._rng, self.num_envs), 0
        return self._way.observe(self._problem, self._asked, *at_first(self._problem, self.num_envs))

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep what is to be done."""
        self._actions = actions

    def step_wait(self) -> tuple[Seen, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Decide everywhere; where episodes end, what is seen is of the next ones."""
        splits, shares = self._way.decode(self._problem, self._actions)
        paid = rewards(self._problem, self._asked, splits, shares).astype(np.float32)
        seen = self._way.observe(self._problem, self._asked, splits, shares)
        self._taken += 1
        ended = self._taken >= self._way.decisions
        infos: list[dict[str, Any]] = [{"terminal_observation": one} if ended else {} for one in seen]
        return self.reset() if ended else seen, paid, np.full(self.num_envs, ended), infos

    # --- what stable-baselines3 asks of every environment; there are no separate ones here to differ ---------------
    def close(self) -> None:
        """Nothing is held."""

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        """The same for all."""
        value = None if attr_name == "render_mode" else getattr(self, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None) -> None:
        """Refused: nothing of one instance can be set."""
        raise NotImplementedError(f"{attr_name} cannot be set to {value!r} for {indices}: instances differ in nothing")

    def env_method(
        self, method_name: str, *method_args: Any, indices: int | Iterable[int] | None = None, **method_kwargs: Any
    ) -> list[Any]:
        """Refused: one instance has no methods."""
        raise NotImplementedError(f"{method_name}{method_args}{method_kwargs} for {indices}: instances have no methods")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: int | Iterable[int] | None = None) -> list[bool]:
        """None is."""
        del wrapper_class
        return [False for _ in self._get_indices(indices)]
