"""The best decision there is: shares in closed form, splits by merging devices. Ours; the paper has a learner."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bench.study.problem import Decision, Floats, Point, Problem, decide, own_costs


def best_shares(edge_gflop: Floats) -> Floats:
    """The shares of least total time at the edge server: in proportion to the square root of each device's work.

    (Minimise `sum(work / share)` under `sum(share) = 1`; by Cauchy and Schwarz it is `sum(sqrt(work))^2`.)

    Args:
        edge_gflop: work left to the server; [..., devices].

    Returns:
        Shares, of the same shape; none where there is no work.
    """
    roots = np.sqrt(edge_gflop)
    whole = roots.sum(axis=-1, keepdims=True)
    shares: Floats = np.divide(roots, whole, out=np.zeros_like(roots), where=whole > 0)
    return shares


def exact(problem: Problem, point: Point) -> Decision:
    """The decision of least cost.

    With the best shares a decision costs `sum a + w * (sum b)^2 / F`, where `a` is what a split costs its device and
    `b` is the root of the work that it leaves to the server. Both sums only ever make it dearer, so of the devices
    merged so far only combinations count that no other beats in both.
    """
    splits = merge(own_costs(problem, point), np.sqrt(problem.edge_gflop), point.w / problem.edge_gflops)
    work = problem.edge_gflop[np.arange(problem.devices), splits]
    return decide(problem, point, splits, best_shares(work).tolist())


def merge(own: Iterable[Floats], root: Iterable[Floats], weight: float) -> list[int]:
    """One choice for each device, so that `sum own + weight * (sum root)^2` is least; for each an array of choices."""
    spent, rooted = np.zeros(1), np.zeros(1)
    steps: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    for mine, my_root in zip(own, root, strict=True):
        candidates = _undominated(mine, my_root)
        sums = (spent[:, None] + mine[candidates]).ravel()
        roots = (rooted[:, None] + my_root[candidates]).ravel()
        kept = _undominated(sums, roots)
        steps.append((kept // len(candidates), candidates[kept % len(candidates)]))
        spent, rooted = sums[kept], roots[kept]
    here = int(np.argmin(spent + weight * rooted**2))
    chosen: list[int] = []
    for came_from, choice in reversed(steps):
        chosen.append(int(choice[here]))
        here = int(came_from[here])
    return chosen[::-1]


def _undominated(first: Floats, second: Floats) -> NDArray[np.intp]:
    """Indices of the pairs that no other pair undercuts in one figure without being above it in the other."""
    order = np.lexsort((second, first))
    lowest = np.minimum.accumulate(second[order])
    better = np.concatenate([[True], second[order][1:] < lowest[:-1]])
    found: NDArray[np.intp] = order[better]
    return found
