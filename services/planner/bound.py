"""How many requests per second no plan can exceed, or hardly: what plans of large fleets are held against."""

from __future__ import annotations

from typing import Final

import numpy as np

from services.planner.cost import Floats, Indices, Problem

BOTTLENECK_MIN_MS: Final = 1e-6

_ROUNDS: Final = 40
_STEP: Final = 0.3


def rates_of(bottleneck_ms: Floats) -> Floats:
    """Requests per second; 0 for an infinite bottleneck."""
    rates: Floats = 1e3 / np.maximum(bottleneck_ms, BOTTLENECK_MIN_MS)
    return rates


def compute_bound_rps(problem: Problem) -> float:
    """`sum_i 1 / T_i`, T_i being the time that device i computes for one request: nobody waits, links are free.

    No plan exceeds it on devices whose speeds differ by one factor for all blocks. Where a device is better at some
    blocks than at others, pipelines that give each what it is good at can, by a little.
    """
    return float(rates_of(problem.compute_ms[:, 0, -1]).sum())


def stage_bound_rps(problem: Problem) -> float:
    """No plan exceeds this, given what each device can hold and what its link carries.

    Give each block a price, all of them adding up to 1. A route that runs r requests per second earns r, split among
    its devices by the blocks they run; so no plan earns more than the sum of what each device could earn with its
    best feasible stage. That holds for any prices (they are the dual of the problem with devices that may divide
    their time among stages); the lowest bound of a few is taken, dearer where too few devices want a block.
    """
    devices, positions = len(problem.devices), len(problem.positions)
    rate = rates_of(problem.bottleneck_ms).reshape(devices, -1)
    work = problem.compute_ms[:, 0, :].mean(axis=0)
    price = np.maximum(np.diff(work), 1e-9)
    price /= price.sum()
    lowest = np.inf
    for number in range(_ROUNDS):
        edges = np.append(0.0, np.cumsum(price))
        earned = rate * np.maximum(edges - edges[:, None], 0.0).ravel()
        best = earned.argmax(axis=1)
        total = float(np.take_along_axis(earned, best[:, None], axis=1).sum())
        lowest = min(lowest, total)
        if total <= 0:
            return 0.0
        supply = _supply_rps(best, np.take_along_axis(rate, best[:, None], axis=1)[:, 0], positions)
        price = np.maximum(price * np.exp(-_STEP / np.sqrt(number + 1) * np.minimum(supply / total - 1, 10.0)), 1e-12)
        price /= price.sum()
    return float(lowest)


def _supply_rps(stages: Indices, rate_rps: Floats, positions: int) -> Floats:
    """How often each block would be run per second, (P - 1,), were each device to run its stage all the time."""
    first, last = np.divmod(stages, positions)
    change = np.zeros(positions)
    np.add.at(change, first, rate_rps)
    np.add.at(change, last, -rate_rps)
    supply: Floats = np.cumsum(change)[:-1]
    return supply
