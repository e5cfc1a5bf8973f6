"""Two ways to put the problem to a learner: the paper's as reconstructed, and one that leaves shares to mathematics.

Pure, numpy only. A way says what is seen, what an action means and how many decisions an episode has.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.study.exact import best_shares
from bench.study.learning.world import Instances
from bench.study.problem import Floats, Problem, Splits, costs

Seen = NDArray[np.float32]
_LEAST_SHARE: Final = 1e-3
"""Of an action's share before all are made to sum to 1: a server without a share takes forever."""
_DECADES: Final = 3.0


class Way(Protocol):
    """How a learner sees and acts."""

    name: str
    decisions: int
    """In an episode: each sees what the one before led to."""

    def sees(self, problem: Problem) -> int:
        """How many numbers an observation has, each within -1..1."""

    def observe(self, problem: Problem, asked: Instances, splits: Splits, shares: Floats) -> Seen:
        """What is seen after a decision; [instances, sees]."""

    def choices(self, problem: Problem) -> tuple[int, ...]:
        """Options of each part of a discrete action; nothing where actions are numbers within -1..1."""

    def numbers(self, problem: Problem) -> int:
        """How many numbers an action has where it is not discrete."""

    def decode(self, problem: Problem, actions: NDArray[Any]) -> tuple[Splits, Floats]:
        """Splits and shares, [instances, devices] both, of actions [instances, parts]."""


class PaperWay:
    """The paper's [R]: two numbers for each device, its split and its share; it sees what its last decision led to.

    With one decision in an episode, that is what everything at the edge server leads to.
    """

    name = "ppo-paper"
    decisions = 1

    def sees(self, problem: Problem) -> int:
        """Five numbers for each device, and the weight: ours, so that one policy serves all weights."""
        return 5 * problem.devices + 1

    def observe(self, problem: Problem, asked: Instances, splits: Splits, shares: Floats) -> Seen:
        """Of each device its latency (decades), the parts of it on device, way and server, and the bandwidth."""
        parts = np.stack(costs(problem, asked.bandwidth_mbps, splits, shares)[0], axis=2)
        whole = parts.sum(axis=2, keepdims=True)
        decades = np.clip(np.log10(whole), -_DECADES, _DECADES) / _DECADES
        bandwidth, w = np.split(asked.scaled, 2, axis=1)
        seen = np.concatenate([decades, parts / whole, np.broadcast_to(bandwidth[:, :, None], whole.shape)], axis=2)
        return np.concatenate([seen.reshape(len(asked), -1), w], axis=1).astype(np.float32)

    def choices(self, problem: Problem) -> tuple[int, ...]:
        """None: actions are numbers."""
        del problem
        return ()

    def numbers(self, problem: Problem) -> int:
        """A split and a share for each device."""
        return 2 * problem.devices

    def decode(self, problem: Problem, actions: NDArray[Any]) -> tuple[Splits, Floats]:
        """`u = (action + 1) / 2`: a split is `int(u * splits)`, a share `u` over their sum; none where all is local."""
        wished = (np.clip(actions.astype(np.float64), -1, 1) + 1) / 2
        splits = np.minimum((wished[:, : problem.devices] * problem.splits).astype(np.intp), problem.splits - 1)
        shares = np.where(splits == problem.splits - 1, 0.0, np.maximum(wished[:, problem.devices :], _LEAST_SHARE))
        whole = shares.sum(axis=1, keepdims=True)
        return splits, np.divide(shares, whole, out=np.zeros_like(shares), where=whole > 0)


class SplitsWay:
    """Ours: a split for each device out of all there are; the shares are then the best in closed form."""

    name = "ppo"
    decisions = 1

    def sees(self, problem: Problem) -> int:
        """Bandwidth and weight: the devices are always the same."""
        del problem
        return 2

    def observe(self, problem: Problem, asked: Instances, splits: Splits, shares: Floats) -> Seen:
        """The question; nothing changes it."""
        del problem, splits, shares
        return asked.scaled.astype(np.float32)

    def choices(self, problem: Problem) -> tuple[int, ...]:
        """All splits, for each device."""
        return (problem.splits,) * problem.devices

    def numbers(self, problem: Problem) -> int:
        """None: actions are discrete."""
        del problem
        return 0

    def decode(self, problem: Problem, actions: NDArray[Any]) -> tuple[Splits, Floats]:
        """The action is the splits."""
        splits = actions.astype(np.intp)
        return splits, best_shares(problem.edge_gflop[np.arange(problem.devices), splits])


def at_first(problem: Problem, count: int) -> tuple[Splits, Floats]:
    """The decision that an episode begins with: everything at the edge server, shared evenly."""
    shares = np.full((count, problem.devices), 1 / problem.devices)
    return np.zeros((count, problem.devices), dtype=np.intp), shares
