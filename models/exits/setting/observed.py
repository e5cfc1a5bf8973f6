"""What validation data shows: who leaves where, what that costs, and how often it is right. Pure, numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.exits.setting.layers import Layers


class BadObservationsError(ValueError):
    """Observations that do not fit together or the network; the message says which."""


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Of every validation sample at every exit, closed ones too; booleans of shape [samples, layers].

    The last column is the network's own head: everyone who gets there leaves, whatever `confident` says.
    """

    confident: NDArray[np.bool_]
    """M[n, j]: the confidence of sample n at exit j reaches the exit's threshold."""
    right: NDArray[np.bool_]
    """Exit j's answer to sample n is correct."""

    def __post_init__(self) -> None:
        shapes = {self.confident.shape, self.right.shape}
        if len(shapes) != 1 or self.confident.ndim != 2 or not self.confident.size:
            raise BadObservationsError(
                f"confidences of shape {self.confident.shape} and answers of shape {self.right.shape}: both must be "
                "[samples, layers], and not empty"
            )
        if self.confident.dtype != np.bool_ or self.right.dtype != np.bool_:
            raise BadObservationsError(f"dtypes {self.confident.dtype} and {self.right.dtype}: both must be bool")

    @property
    def able(self) -> list[float]:
        """Per layer, the share that could leave behind it or before if exits were nested; see `nested_exits`."""
        shares: list[float] = np.maximum.accumulate(self.confident.mean(axis=0)).tolist()
        return shares

    def check(self, layers: Layers) -> None:
        """Whether they are of this network.

        Raises:
            BadObservationsError: another number of layers.
        """
        if self.confident.shape[1] != len(layers):
            raise BadObservationsError(
                f"observations at {self.confident.shape[1]} exits do not fit {len(layers)} layers: one exit behind each"
            )


def left_behind(observed: Observed, exits: tuple[int, ...]) -> NDArray[np.intp]:
    """Per sample, the layer behind which it leaves: the first open exit that is confident, else the last. [samples]."""
    places = np.array([*exits, observed.confident.shape[1] - 1])
    leaves = observed.confident[:, places]
    leaves[:, -1] = True
    found: NDArray[np.intp] = places[leaves.argmax(axis=1)]
    return found


def survival(observed: Observed, exits: tuple[int, ...]) -> NDArray[np.float64]:
    """mu_k: the share of samples that still run layer k. [layers], falling from 1."""
    left = left_behind(observed, exits)
    count = np.bincount(left, minlength=observed.confident.shape[1])
    gone = np.concatenate([[0], np.cumsum(count)[:-1]])
    return 1.0 - gone / len(left)


def expected_flops(layers: Layers, observed: Observed, exits: tuple[int, ...]) -> float:
    """Mean FLOPs of a sample: the layers it runs and the heads it meets.

    Raises:
        BadLayersError: exits that are none of this network.
        BadObservationsError: observations of another network.
    """
    layers.check(exits)
    observed.check(layers)
    is_open = np.zeros(len(layers))
    is_open[[*exits, layers.last]] = 1.0
    until = np.cumsum(layers.flops) + np.cumsum(is_open * np.array(layers.exit_flops))
    return float(until[left_behind(observed, exits)].mean())


def accuracy(observed: Observed, exits: tuple[int, ...]) -> float:
    """Share of right answers, each given where its sample leaves."""
    left = left_behind(observed, exits)
    return float(observed.right[np.arange(len(left)), left].mean())
